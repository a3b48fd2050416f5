// SPDX-License-Identifier: MIT
#pragma once

#include <linux/audit.h>
#include <stdint.h>

namespace waep {

// The architecture of this program's own system calls, as seccomp filters are told of it.
#if defined(__x86_64__)
constexpr uint32_t kArchitecture = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr uint32_t kArchitecture = AUDIT_ARCH_AARCH64;
#else
#error "The numbers of the system calls are known for x86-64 and arm64 only."
#endif

}  // namespace waep
