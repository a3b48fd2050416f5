// SPDX-License-Identifier: MIT
#include "memory_maps.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include <utility>

namespace waep::seccomp {
namespace {

// PROCMAP_QUERY of linux/fs.h, Linux 6.11.
struct MapQuery {
  uint64_t size;
  uint64_t query_flags;
  uint64_t query_address;
  uint64_t start;
  uint64_t end;
  uint64_t flags;
  uint64_t page_size;
  uint64_t offset;
  uint64_t inode;
  uint32_t device_major;
  uint32_t device_minor;
  uint32_t name_size;
  uint32_t build_id_size;
  uint64_t name_address;
  uint64_t build_id_address;
};
static_assert(sizeof(MapQuery) == 104);
constexpr unsigned long kQueryMap = _IOWR('f', 17, MapQuery);
constexpr uint64_t kReadable = 0x01;
constexpr uint64_t kWritable = 0x02;

bool ReadText(unique_fd maps, uint64_t address, Mapping* found) {
  FILE* const file = ::fdopen(maps.get(), "r");
  if (file == nullptr) return false;
  static_cast<void>(maps.release());
  bool is_found = false;
  char* line = nullptr;
  size_t room = 0;
  while (!is_found && ::getline(&line, &room, file) > 0) {
    char rights[5] = {};
    if (::sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s", &found->start, &found->end, rights) != 3) {
      continue;
    }
    is_found = found->start <= address && address < found->end;
    found->readable = rights[0] == 'r';
    found->writable = rights[1] == 'w';
  }
  ::free(line);
  ::fclose(file);
  return is_found;
}

}  // namespace

bool FindMapping(unique_fd maps, uint64_t address, Mapping* found) {
  if (!maps.valid()) return false;
  MapQuery query = {};
  query.size = sizeof query;
  query.query_address = address;
  if (::ioctl(maps.get(), kQueryMap, &query) < 0) {
    return errno == ENOTTY && ReadText(std::move(maps), address, found);
  }
  *found = {query.start, query.end, (query.flags & kReadable) != 0, (query.flags & kWritable) != 0};
  return true;
}

}  // namespace waep::seccomp
