// SPDX-License-Identifier: MIT
#include "call_memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <iterator>

#include "call_image.h"
#include "rules.h"

namespace waep {
namespace {

constexpr size_t kPage = 4096;
static_assert(kPage >= CallImage::kGuardBytes);
constexpr int kOnes = 0xff;

size_t RoundUp(size_t size) { return (size + kPage - 1) & ~(kPage - 1); }

}  // namespace

CallMemory::~CallMemory() {
  if (base_ != nullptr) ::munmap(base_, reserved_);
}

int CallMemory::Reserve(size_t max_bytes, size_t max_buffers, int first_fd) {
  const unique_fd pages(::open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC));
  if (pages.valid()) pages_in_use_.reset(::fcntl(pages.get(), F_DUPFD_CLOEXEC, first_fd));
  // The first page is the inaccessible one before the first place.
  size_t used = kPage;
  for (const Places* places : {&pages_, &small_}) {
    used += Places::kCount * (places->bytes + kPage);
  }
  large_start_ = used;
  // A large buffer costs up to a page of rounding and a page of guard.
  reserved_ = large_start_ + RoundUp(max_bytes) + 2 * kPage * (max_buffers + 2) + kMaxOffered;
  void* const memory =
      ::mmap(nullptr, reserved_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return -errno;
  base_ = static_cast<uint8_t*>(memory);
  uint8_t* at = base_ + kPage;
  for (Places* places : {&pages_, &small_}) {
    const int error = Open(places, at);
    if (error != 0) return error;
    at += Places::kCount * (places->bytes + kPage);
  }
  return max_bytes <= Limits::kResidentBytes ? KeepResident(RoundUp(max_bytes)) : 0;
}

int CallMemory::KeepResident(size_t bytes) {
  uint8_t* const start = base_ + large_start_;
  if (::mprotect(start, bytes, PROT_READ | PROT_WRITE) < 0) return -errno;
  std::memset(start, 0, bytes);
  resident_ = bytes;
  return ::mprotect(start, bytes, PROT_NONE) < 0 ? -errno : 0;
}

int CallMemory::Open(Places* places, uint8_t* base) {
  places->base = base;
  for (size_t i = 0; i < Places::kCount; ++i) {
    uint8_t* const place = base + i * (places->bytes + kPage);
    if (::mprotect(place, places->bytes, PROT_READ | PROT_WRITE) < 0) return -errno;
  }
  return 0;
}

uint8_t* CallMemory::Take(Places* places, size_t size) {
  const size_t index = places->used++;
  uint8_t* const place = places->base + index * (places->bytes + kPage);
  const size_t before = places->bytes - size;
  // The bytes before the last buffer are still all ones, because the kernel writes to a buffer from
  // its start.
  size_t* const ones = &places->ones[index];
  if (before > *ones) std::memset(place + *ones, kOnes, before - *ones);
  *ones = before;
  return place + before;
}

uint8_t* CallMemory::Allocate(size_t size) {
  for (Places* places : {&pages_, &small_}) {
    if (size <= places->bytes && places->used < Places::kCount) return Take(places, size);
  }
  return AllocateLarge(size, size);
}

uint8_t* CallMemory::AllocateOut(size_t size, size_t offered) {
  if (size < offered || size > small_.bytes) return AllocateLarge(size, offered);
  uint8_t* const memory = Allocate(size);
  if (memory != nullptr) std::memset(memory, 0, size);
  return memory;
}

size_t CallMemory::Written(const uint8_t* data, size_t size) const {
  if (data < base_ + large_start_ || !pages_in_use_.valid()) return size;
  const auto address = reinterpret_cast<uintptr_t>(data);
  const uintptr_t first = address / kPage;
  uintptr_t end = (address + size + kPage - 1) / kPage;
  // The page is in memory, or is swapped out.
  constexpr uint64_t kInUse = uint64_t{3} << 62;
  uint64_t entries[512];
  while (end > first) {
    const size_t count = std::min<size_t>(end - first, std::size(entries));
    const size_t bytes = count * sizeof(uint64_t);
    const auto offset = static_cast<off_t>((end - count) * sizeof(uint64_t));
    if (::pread(pages_in_use_.get(), entries, bytes, offset) != static_cast<ssize_t>(bytes)) {
      return size;
    }
    for (size_t i = count; i > 0; --i, --end) {
      if ((entries[i - 1] & kInUse) != 0) return std::min<size_t>(size, end * kPage - address);
    }
  }
  return 0;
}

uint8_t* CallMemory::AllocateArgument(size_t size) {
  const size_t block = size <= kArgumentBytes ? kArgumentBytes : RoundUp(size);
  uint8_t* const memory = Allocate(block);
  if (memory != nullptr) std::memset(memory, 0, block);
  return memory;
}

uint8_t* CallMemory::AllocateLarge(size_t size, size_t offered) {
  const size_t rounded = size == 0 ? kPage : RoundUp(size);
  if (offered > reserved_) return nullptr;
  const size_t taken = rounded + RoundUp(offered - size) + kPage;
  if (taken > reserved_ - large_start_ - large_used_) return nullptr;
  uint8_t* const start = base_ + large_start_ + large_used_;
  if (::mprotect(start, rounded, PROT_READ | PROT_WRITE) < 0) return nullptr;
  large_used_ += taken;
  large_.push_back({start, rounded});
  std::memset(start, kOnes, rounded - size);
  return start + rounded - size;
}

void CallMemory::Reset() {
  pages_.used = small_.used = 0;
  if (large_used_ == 0) return;
  uint8_t* const start = base_ + large_start_;
  uint8_t* const kept = start + std::min(large_used_, resident_);
  for (const Part& part : large_) {
    if (part.start >= kept) break;
    std::memset(part.start, 0, std::min(part.size, static_cast<size_t>(kept - part.start)));
  }
  if (large_used_ > resident_) ::madvise(kept, large_used_ - resident_, MADV_DONTNEED);
  ::mprotect(start, large_used_, PROT_NONE);
  large_.clear();
  large_used_ = 0;
}

int AddressGuard::Load() {
  ranges_.clear();
  FILE* const maps = ::fopen("/proc/self/maps", "re");
  if (maps == nullptr) return -errno;
  constexpr uint64_t kNear = 16u << 20;
  constexpr uint64_t kHeapGrowth = 256u << 20;
  constexpr uint64_t kStackGrowth = 8u << 20;  // RLIMIT_STACK of most
  char line[512];
  while (::fgets(line, sizeof line, maps) != nullptr) {
    unsigned long start = 0;
    unsigned long end = 0;
    if (::sscanf(line, "%lx-%lx", &start, &end) != 2) continue;
    if (start >= uint64_t{1} << 47) continue;  // vsyscall, in the kernel's half
    if (std::strstr(line, "[heap]") != nullptr) end += kHeapGrowth;
    if (std::strstr(line, "[stack]") != nullptr) start -= kStackGrowth;
    if (!ranges_.empty() && start - ranges_.back().start <= ranges_.back().size + kNear) {
      Range& last = ranges_.back();
      if (end - last.start > last.size) last.size = end - last.start;
    } else {
      ranges_.push_back({start, end - start});
    }
  }
  ::fclose(maps);
  return 0;
}

int64_t AddressGuard::Find(const uint8_t* data, size_t size) const {
  for (size_t offset = 0; offset + 8 <= size; offset += 8) {
    uint64_t word;
    std::memcpy(&word, data + offset, 8);
    // No process has anything below 64 KiB (vm.mmap_min_addr) or in the kernel's half.
    if (word >= 0x10000 && word >> 47 == 0 && Covers(word)) return static_cast<int64_t>(offset);
  }
  return -1;
}

}  // namespace waep
