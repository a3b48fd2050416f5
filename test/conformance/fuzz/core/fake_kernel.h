// SPDX-License-Identifier: MIT
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>

// What the device asks of the kernel, answered without one: the linker leads its system calls here
// (see `wrapped` in targets.ts), and those that concern nothing of this file's are passed on. An
// input costs no system call, its clock goes as it says, and no descriptor is lost unseen.
namespace fake_kernel {

enum class Kind : uint8_t { kNone, kMemory, kEvent, kPipe, kEpoll, kTimer, kSocket };

constexpr size_t kFileBytes = 64 * 1024;

// Between these, what is made is a fake. End() fails where a descriptor is still open.
void Begin();
void End();

// A connected socket, which is the device's to close.
int MakeSocket();
// Lets the device receive bytes, and with the first of them a descriptor of each kind.
void Send(const void* bytes, size_t size, const Kind* kinds, size_t count);
void HangUp();
void PassTime(uint64_t ns);

// The file behind every descriptor of the kind kMemory, mapped. Its bytes may be touched where they
// have been allowed to since they were last forbidden; AddressSanitizer sees to that.
uint8_t* Memory();
void ForbidMemory();
void AllowMemory(size_t offset, size_t size);
// Cuts the file short, in earnest. Restore() makes it whole, and all zeros, again.
void CutMemory(size_t bytes);
void RestoreMemory();

}  // namespace fake_kernel
