// SPDX-License-Identifier: MIT
#include "rules.h"

#include <algorithm>
#include <string_view>

namespace waep {

bool Rules::AllowsPath(std::string_view path) const {
  // A rule is about the name it is written for, so a path may not climb out of it.
  if (path.empty() || path.front() != '/' || path.find('\0') != std::string_view::npos ||
      path.find("/../") != std::string_view::npos ||
      (path.size() >= 3 && path.substr(path.size() - 3) == "/..")) {
    return false;
  }
  for (const std::string& allowed : readable_paths) {
    const bool is_folder = !allowed.empty() && allowed.back() == '/';
    if (is_folder ? path.substr(0, allowed.size()) == allowed : path == allowed) return true;
  }
  return false;
}

const IoctlRule* Rules::FindIoctl(uint32_t request) const {
  const auto found = std::find_if(ioctls.begin(), ioctls.end(),
                                  [=](const IoctlRule& rule) { return rule.request == request; });
  return found == ioctls.end() ? nullptr : &*found;
}

bool Rules::Decode(cbor::Reader* reader, Rules* rules) {
  uint64_t count = 0;
  if (!reader->ReadArrayOf(7) || !reader->ReadUint(&rules->commands) ||
      !reader->ReadBool(&rules->other_commands) || !reader->ReadArray(&count)) {
    return false;
  }
  rules->words.resize(count);
  for (WordRule& word : rules->words) {
    std::string_view name;
    uint64_t command = 0;
    uint64_t offset = 0;
    if (!reader->ReadArrayOf(4) || !reader->ReadText(&name) ||
        !reader->ReadUint(UINT32_MAX, &command) || !reader->ReadUint(4092, &offset) ||
        !reader->ReadUint(&word.allowed)) {
      return false;
    }
    word.name = name;
    word.command = static_cast<uint32_t>(command);
    word.offset = static_cast<uint32_t>(offset);
  }
  if (!reader->ReadArray(&count)) return false;
  rules->readable_paths.resize(count);
  for (std::string& path : rules->readable_paths) {
    std::string_view text;
    if (!reader->ReadText(&text)) return false;
    path = text;
  }
  PerfRules& perf = rules->perf;
  if (!reader->ReadArrayOf(3) || !reader->ReadUint(&perf.types) ||
      !reader->ReadBool(&perf.other_types) || !reader->ReadUint(&perf.flags) ||
      !reader->ReadArray(&count)) {
    return false;
  }
  rules->ioctls.resize(count);
  for (IoctlRule& rule : rules->ioctls) {
    std::string_view name;
    uint64_t request = 0;
    uint64_t argument = 0;
    if (!reader->ReadArrayOf(3) || !reader->ReadText(&name) ||
        !reader->ReadUint(UINT32_MAX, &request) || !reader->ReadUint(2, &argument)) {
      return false;
    }
    rule.name = name;
    rule.request = static_cast<uint32_t>(request);
    rule.argument = static_cast<IoctlArgument>(argument);
  }
  Limits& limits = rules->limits;
  return reader->ReadArrayOf(5) && reader->ReadUint(1u << 30, &limits.max_frame_bytes) &&
         reader->ReadUint(1u << 30, &limits.max_call_bytes) &&
         reader->ReadUint(1u << 16, &limits.max_buffers) &&
         reader->ReadUint(1u << 24, &limits.max_relocations) &&
         reader->ReadUint(1u << 20, &limits.max_handles);
}

}  // namespace waep
