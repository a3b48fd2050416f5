// SPDX-License-Identifier: MIT
#include "guest_memory.h"

#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>

namespace waep {
namespace {

// The mappings of all devices of the process, for the signal handler, which may neither lock nor
// allocate.
struct Guarded {
  std::atomic<bool> taken{false};
  std::atomic<uintptr_t> begin{0};
  std::atomic<uintptr_t> end{0};
  std::atomic<bool> broken{false};
};

Guarded guarded[1024];
struct sigaction previous_action;

void OnBusError(int number, siginfo_t* info, void* context) {
  const int saved_errno = errno;
  const auto address = reinterpret_cast<uintptr_t>(info->si_addr);
  for (Guarded& area : guarded) {
    const uintptr_t begin = area.begin.load(std::memory_order_acquire);
    const uintptr_t end = area.end.load(std::memory_order_acquire);
    if (begin == 0 || address < begin || address >= end) continue;
    // The whole mapping is replaced at once, because the pages of the file may be larger than ours.
    void* const zeros = ::mmap(reinterpret_cast<void*>(begin), end - begin, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
    if (zeros == MAP_FAILED) break;
    area.broken.store(true, std::memory_order_release);
    errno = saved_errno;
    return;
  }
  errno = saved_errno;
  if ((previous_action.sa_flags & SA_SIGINFO) != 0) {
    previous_action.sa_sigaction(number, info, context);
  } else if (previous_action.sa_handler != SIG_DFL && previous_action.sa_handler != SIG_IGN) {
    previous_action.sa_handler(number);
  } else {
    // The access is repeated, and ends the process as it would without this handler.
    ::signal(number, SIG_DFL);
  }
}

void InstallHandler() {
  [[maybe_unused]] static const int installed = [] {
    struct sigaction action = {};
    action.sa_sigaction = OnBusError;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    return ::sigaction(SIGBUS, &action, &previous_action);
  }();
}

bool Overlap(uint64_t a, uint64_t b, uint64_t a_size, uint64_t b_size) {
  return a < b + b_size && b < a + a_size;
}

}  // namespace

class GuestMemory::Mapping {
 public:
  Mapping(const MemoryRegion& region, uint8_t* start, size_t size, size_t lead, Guarded* guard)
      : region_(region), start_(start), size_(size), lead_(lead), guard_(guard) {
    guard_->broken.store(false, std::memory_order_relaxed);
    guard_->end.store(reinterpret_cast<uintptr_t>(start) + size, std::memory_order_release);
    guard_->begin.store(reinterpret_cast<uintptr_t>(start), std::memory_order_release);
  }
  ~Mapping() {
    guard_->begin.store(0, std::memory_order_release);
    ::munmap(start_, size_);
    guard_->taken.store(false, std::memory_order_release);
  }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  [[nodiscard]] const MemoryRegion& region() const { return region_; }
  [[nodiscard]] uint8_t* data() const { return start_ + lead_; }
  [[nodiscard]] bool broken() const { return guard_->broken.load(std::memory_order_relaxed); }

 private:
  MemoryRegion region_;
  uint8_t* start_;
  size_t size_;
  size_t lead_;
  Guarded* guard_;
};

GuestMemory::GuestMemory() = default;
GuestMemory::~GuestMemory() = default;

int GuestMemory::Add(const MemoryRegion& region, const unique_fd& file) {
  if (mappings_.size() >= kMaxRegions) return -ENOSPC;
  const uint64_t size = region.size;
  if (size == 0 || region.guest_address + size < size || region.user_address + size < size ||
      region.offset + size < size) {
    return -EINVAL;
  }
  for (const auto& mapping : mappings_) {
    const MemoryRegion& other = mapping->region();
    if (Overlap(other.guest_address, region.guest_address, other.size, size)) return -EINVAL;
  }
  struct stat status = {};
  if (::fstat(file.get(), &status) < 0) return -errno;
  if (!S_ISREG(status.st_mode) || static_cast<uint64_t>(status.st_size) < region.offset + size) {
    return -EINVAL;
  }
  // mmap(2) needs multiples of the page size, which on hugetlbfs is the block size.
  const uint64_t page = std::max<uint64_t>(static_cast<uint64_t>(status.st_blksize), 4096);
  const uint64_t lead = region.offset % page;
  const uint64_t length = (lead + size + page - 1) / page * page;
  InstallHandler();
  Guarded* guard = nullptr;
  for (Guarded& area : guarded) {
    bool expected = false;
    if (!area.taken.compare_exchange_strong(expected, true)) continue;
    guard = &area;
    break;
  }
  if (guard == nullptr) return -ENOSPC;
  void* const start = ::mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE,
                             file.get(), static_cast<off_t>(region.offset - lead));
  if (start == MAP_FAILED) {
    const int error = errno;
    guard->taken.store(false);
    return -error;
  }
  // Memory of another program does not belong into our core dumps.
  ::madvise(start, length, MADV_DONTDUMP);
  mappings_.push_back(
      std::make_unique<Mapping>(region, static_cast<uint8_t*>(start), length, lead, guard));
  return 0;
}

int GuestMemory::Remove(const MemoryRegion& region) {
  const auto found = std::find_if(
      mappings_.begin(), mappings_.end(), [&](const std::unique_ptr<Mapping>& mapping) {
        const MemoryRegion& other = mapping->region();
        return other.guest_address == region.guest_address && other.size == region.size &&
               other.user_address == region.user_address;
      });
  if (found == mappings_.end()) return -ENOENT;
  mappings_.erase(found);
  return 0;
}

void GuestMemory::Clear() { mappings_.clear(); }

uint8_t* GuestMemory::Find(uint64_t guest_address, uint64_t* length) const {
  for (const auto& mapping : mappings_) {
    const MemoryRegion& region = mapping->region();
    const uint64_t offset = guest_address - region.guest_address;
    if (offset >= region.size) continue;
    *length = std::min(*length, region.size - offset);
    return mapping->data() + offset;
  }
  return nullptr;
}

uint8_t* GuestMemory::FindUser(uint64_t user_address, uint64_t length) const {
  for (const auto& mapping : mappings_) {
    const MemoryRegion& region = mapping->region();
    const uint64_t offset = user_address - region.user_address;
    if (offset < region.size && length <= region.size - offset) return mapping->data() + offset;
  }
  return nullptr;
}

bool GuestMemory::broken() const {
  return std::any_of(mappings_.begin(), mappings_.end(),
                     [](const auto& mapping) { return mapping->broken(); });
}

}  // namespace waep
