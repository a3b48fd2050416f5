// An application of cilium/ebpf, without C: loads events.bpf.o, attaches by a tracepoint and by a
// raw tracepoint's link, and prints what comes through the ring buffer.
package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"
)

const wanted = 3

type event struct {
	Number uint64
	Comm   [16]byte
}

func check(what string, err error) {
	if err != nil {
		fmt.Printf("%s: %v\n", what, err)
		os.Exit(1)
	}
}

func main() {
	spec, err := ebpf.LoadCollectionSpec(os.Args[1])
	check("open", err)
	collection, err := ebpf.NewCollection(spec)
	check("load", err)
	defer collection.Close()

	trivial, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name:         "trivial",
		Type:         ebpf.RawTracepoint,
		License:      "GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()},
	})
	check("load trivial", err)
	defer trivial.Close()
	raw, err := link.AttachRawTracepoint(link.RawTracepointOptions{Name: "sys_exit", Program: trivial})
	check("attach raw", err)
	defer raw.Close()
	info, err := raw.Info()
	check("link info", err)
	fmt.Printf("link of type %d\n", info.Type)

	tracepoint, err := link.Tracepoint("syscalls", "sys_enter_getppid", collection.Programs["on_getppid"], nil)
	check("attach", err)
	defer tracepoint.Close()

	reader, err := ringbuf.NewReader(collection.Maps["ring"])
	check("ring", err)
	time.AfterFunc(time.Minute, func() { reader.Close() })
	for i := 0; i < wanted; i++ {
		record, err := reader.Read()
		check("read", err)
		var one event
		check("decode", binary.Read(bytes.NewReader(record.RawSample), binary.LittleEndian, &one))
		fmt.Printf("ring: %s\n", bytes.TrimRight(one.Comm[:], "\x00"))
	}
	fmt.Println("enough")
}
