// SPDX-License-Identifier: MIT
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>

// Answers the device's system calls without a kernel. The linker leads them here (see `wrapped` in
// targets.ts). Calls that are not about objects of this file are passed on. So an input costs no
// system call, controls its clock, and cannot lose a descriptor unnoticed.
namespace fake_kernel {

enum class Kind : uint8_t { kNone, kMemory, kEvent, kPipe, kEpoll, kTimer, kSocket };

constexpr size_t kFileBytes = 64 * 1024;

// Between Begin() and End(), new objects are fakes. End() fails if a descriptor is still open.
void Begin();
void End();

// Returns a connected socket, which the device must close.
int MakeSocket();
// Lets the device receive bytes, and with the first byte a descriptor of each kind.
void Send(const void* bytes, size_t size, const Kind* kinds, size_t count);
void HangUp();
void PassTime(uint64_t ns);

// The mapped file behind every descriptor of the kind kMemory. AddressSanitizer reports an access
// to bytes that were not allowed since they were last forbidden.
uint8_t* Memory();
void ForbidMemory();
void AllowMemory(size_t offset, size_t size);
// Truncates the real file. RestoreMemory() makes it whole, and all zeros, again.
void CutMemory(size_t bytes);
void RestoreMemory();

}  // namespace fake_kernel
