// SPDX-License-Identifier: MIT
#include "verdict_cache.h"

#include <sys/uio.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace waep::seccomp {
namespace {

constexpr std::string_view kMagic("waep2\n\0\0", 8);
constexpr size_t kMaxAttribute = 512;
// Programs that do more than probe a feature are longer.
constexpr size_t kMaxInputs = 512;
constexpr size_t kMaxKey = 2048;
constexpr size_t kMaxWrites = 64 * 1024;
constexpr size_t kMaxKeptBytes = 32 * 1024 * 1024;
constexpr size_t kMaxPointers = 16;
constexpr size_t kMaxZeroes = 64;
constexpr size_t kMaxParts = 64;
constexpr uint64_t kPage = 4096;
constexpr size_t kPointerWords = 7;
constexpr size_t kZeroesWords = 2;
// Precedes each outcome in a file: the lengths of the key and of the outputs, and the errno.
constexpr size_t kHead = 3 * sizeof(uint32_t);

uint32_t WordAt(const char* bytes) {
  uint32_t word;
  std::memcpy(&word, bytes, sizeof word);
  return word;
}

void Append(std::string* out, uint32_t word) {
  out->append(reinterpret_cast<const char*>(&word), sizeof word);
}

}  // namespace

bool VerdictCache::Describe(const uint32_t* words, size_t count) {
  const uint32_t* at = words;
  const uint32_t* const end = words + count;
  Recipe recipe;
  if (count < 4) return false;
  recipe.architecture = *at++;
  recipe.number = *at++;
  recipe.command = *at++;
  const size_t zeroes = *at++;
  if (zeroes > kMaxZeroes || static_cast<size_t>(end - at) < kZeroesWords * zeroes + 1) {
    return false;
  }
  for (size_t i = 0; i < zeroes; ++i, at += kZeroesWords) recipe.zeroes.push_back({at[0], at[1]});
  const size_t pointers = *at++;
  if (pointers > kMaxPointers || static_cast<size_t>(end - at) != kPointerWords * pointers) {
    return false;
  }
  for (size_t i = 0; i < pointers; ++i, at += kPointerWords) {
    if (at[0] > kMaxAttribute || at[1] > Recipe::kOutput || at[2] > kMaxAttribute) return false;
    recipe.pointers.push_back(
        {at[0], static_cast<Recipe::Kind>(at[1]), at[2], at[3], at[4], at[5], at[6]});
  }
  recipe_ = std::move(recipe);
  described_.assign(reinterpret_cast<const char*>(words), count * sizeof *words);
  return true;
}

uint32_t VerdictCache::Word(uint32_t offset) const {
  uint32_t word = 0;
  if (offset < attribute_.size()) {
    std::memcpy(&word, attribute_.data() + offset,
                std::min(sizeof word, attribute_.size() - offset));
  }
  return word;
}

std::string_view VerdictCache::Key(const Notification& call) {
  if (!Read(call)) key_.clear();
  return key_;
}

bool VerdictCache::Read(const Notification& call) {
  if (call.architecture != recipe_.architecture ||
      static_cast<uint32_t>(call.number) != recipe_.number ||
      static_cast<uint32_t>(call.arguments[0]) != recipe_.command) {
    return false;
  }
  const size_t size = static_cast<uint32_t>(call.arguments[2]);
  if (size == 0 || size > kMaxAttribute) return false;
  const auto thread = static_cast<pid_t>(call.thread);
  if (!ReadAttribute(thread, call.arguments[1], size)) return false;
  const auto all_zero = [&](size_t offset, size_t length) {
    for (size_t at = offset; at < size && at - offset < length; ++at) {
      if (attribute_[at] != 0) return false;
    }
    return true;
  };
  for (const Recipe::Zeroes& zeroes : recipe_.zeroes) {
    if (!all_zero(zeroes.offset, zeroes.length)) return false;
  }
  regions_.assign(1, {call.arguments[1], size});
  uint64_t inputs = 0;
  for (const Recipe::Pointer& pointer : recipe_.pointers) {
    Region region;
    if (pointer.offset + sizeof region.address <= size) {
      std::memcpy(&region.address, attribute_.data() + pointer.offset, sizeof region.address);
    } else if (!all_zero(pointer.offset, sizeof region.address)) {
      return false;
    }
    if (region.address != 0) {
      region.length = pointer.kind == Recipe::kText
                          ? pointer.unit
                          : static_cast<uint64_t>(Word(pointer.count_offset)) * pointer.unit;
      if (pointer.kind != Recipe::kOutput) inputs += region.length;
    }
    if (region.length > UINT32_MAX || inputs > kMaxInputs) return false;
    regions_.push_back(region);
  }
  key_.clear();
  Append(&key_, recipe_.command);
  Append(&key_, static_cast<uint32_t>(size));
  key_ += attribute_;
  for (size_t i = 0; i < recipe_.pointers.size(); ++i) {
    if (regions_[i + 1].address == 0) continue;
    const uint64_t present = 1;
    std::memcpy(key_.data() + 8 + recipe_.pointers[i].offset, &present, sizeof present);
  }
  return ReadRegions(thread);
}

bool VerdictCache::ReadAttribute(pid_t thread, uint64_t address, size_t size) {
  attribute_.resize(size);
  // A tool that calls again most likely uses the same buffers again.
  iovec local[2] = {{attribute_.data(), size}, {bytes_.data(), bytes_.size()}};
  parts_.assign(1, {reinterpret_cast<void*>(address), size});
  parts_.insert(parts_.end(), inputs_.begin(), inputs_.end());
  const ssize_t got = ReadParts(thread, local, 2, parts_.data(), parts_.size());
  if (got >= static_cast<ssize_t>(size)) {
    got_ = static_cast<size_t>(got) - size;
    return true;
  }
  inputs_.clear();
  return ReadMemory(thread, address, attribute_.data(), size) == static_cast<ssize_t>(size);
}

void VerdictCache::FindInputs() {
  // A copy ends at the first part that is not completely mapped, so each part lies within a page.
  // Texts come last, because they may end before their buffer does.
  parts_.clear();
  starts_.assign(recipe_.pointers.size(), 0);
  size_t asked = 0;
  for (const bool texts : {false, true}) {
    for (size_t i = 0; i < recipe_.pointers.size(); ++i) {
      const Recipe::Kind kind = recipe_.pointers[i].kind;
      if (kind == Recipe::kOutput || (kind == Recipe::kText) != texts) continue;
      starts_[i] = asked;
      uint64_t address = regions_[i + 1].address;
      for (uint64_t left = regions_[i + 1].length; left > 0;) {
        const uint64_t length = std::min(left, kPage - address % kPage);
        parts_.push_back({reinterpret_cast<void*>(address), length});
        address += length;
        left -= length;
        asked += length;
      }
    }
  }
}

bool VerdictCache::ReadRegions(pid_t thread) {
  FindInputs();
  const auto same = [](const iovec& a, const iovec& b) {
    return a.iov_base == b.iov_base && a.iov_len == b.iov_len;
  };
  if (!std::equal(parts_.begin(), parts_.end(), inputs_.begin(), inputs_.end(), same)) {
    inputs_ = parts_;
    size_t asked = 0;
    for (const iovec& input : inputs_) asked += input.iov_len;
    bytes_.resize(asked);
    const iovec local = {bytes_.data(), asked};
    const ssize_t got = ReadParts(thread, &local, 1, inputs_.data(), inputs_.size());
    got_ = got < 0 ? 0 : static_cast<size_t>(got);
  }
  for (size_t i = 0; i < recipe_.pointers.size(); ++i) {
    const Recipe::Pointer& pointer = recipe_.pointers[i];
    Region& region = regions_[i + 1];
    if (region.address == 0) continue;
    const char* const start = bytes_.data() + starts_[i];
    if (pointer.kind == Recipe::kText) {
      const size_t here =
          got_ > starts_[i] ? std::min<size_t>(got_ - starts_[i], region.length) : 0;
      const void* const end = here == 0 ? nullptr : std::memchr(start, 0, here);
      if (end == nullptr) return false;
      region.length = static_cast<size_t>(static_cast<const char*>(end) - start) + 1;
    } else if (pointer.kind == Recipe::kBytes && got_ < starts_[i] + region.length) {
      return false;
    }
    Append(&key_, static_cast<uint32_t>(region.length));
    if (pointer.kind == Recipe::kOutput) continue;
    if (pointer.stride != 0) {
      for (size_t at = pointer.byte; at < region.length; at += pointer.stride) {
        if ((static_cast<uint8_t>(start[at]) & pointer.mask) != 0) return false;
      }
    }
    key_.append(start, region.length);
  }
  return true;
}

VerdictCache::Answered VerdictCache::Answer(int listener, const Notification& call) {
  if (Key(call).empty()) return kNo;
  const Outcome* const outcome = Find(key_);
  if (outcome == nullptr) return kNo;
  if (!outcome->writes.empty() && !Write(listener, call, outcome->writes)) return kNo;
  latest_ = key_;
  if (outcome->error == 0) return kSucceeds;
  Respond(listener, call.id, 0, static_cast<int>(outcome->error));
  return outcome->notify ? kNotify : kYes;
}

bool VerdictCache::Write(int listener, const Notification& call, std::string_view writes) {
  MemoryPart parts[kMaxParts];
  size_t count = 0;
  size_t total = 0;
  for (size_t at = 0; at < writes.size(); ++count) {
    if (count == kMaxParts || writes.size() - at < 3 * sizeof(uint32_t)) return false;
    const uint32_t index = WordAt(writes.data() + at);
    const uint64_t offset = WordAt(writes.data() + at + 4);
    const uint64_t length = WordAt(writes.data() + at + 8);
    at += 12;
    if (length > writes.size() - at || index >= regions_.size()) return false;
    const Region& region = regions_[index];
    if (region.address == 0 || offset + length > region.length) return false;
    parts[count] = {region.address + offset, writes.data() + at, length};
    at += length;
    total += length;
  }
  return memory_of_callers_.Write(listener, call, parts, count) == static_cast<ssize_t>(total);
}

const VerdictCache::Outcome* VerdictCache::Find(std::string_view key) const {
  const auto found = outcomes_.find(key);
  return found == outcomes_.end() ? nullptr : &found->second;
}

bool VerdictCache::Accepts(std::string_view key, const Outcome& outcome) const {
  if (key.empty() || key.size() > kMaxKey || outcome.writes.size() > kMaxWrites) return false;
  if (outcome.error > INT32_MAX) return false;
  if (key.size() + outcome.writes.size() > kMaxKeptBytes - kept_bytes_) return false;
  return outcomes_.size() < kMaxOutcomes || Find(key) != nullptr;
}

bool VerdictCache::Insert(std::string_view key, const Outcome& outcome) {
  if (!Accepts(key, outcome)) return false;
  std::string& copy = memory_.emplace_back(key);
  copy += outcome.writes;
  kept_bytes_ += copy.size();
  const std::string_view kept = copy;
  outcomes_.insert_or_assign(kept.substr(0, key.size()),
                             Outcome{outcome.error, outcome.notify, kept.substr(key.size())});
  return true;
}

size_t VerdictCache::SavedBytes() const {
  size_t bytes = kMagic.size() + sizeof(uint32_t) + described_.size();
  for (const auto& [key, outcome] : outcomes_) bytes += kHead + key.size() + outcome.writes.size();
  return bytes;
}

void VerdictCache::Save(uint8_t* file) const {
  const auto put = [&file](std::string_view bytes) {
    file = std::copy(bytes.begin(), bytes.end(), file);
  };
  const auto put_word = [&file](size_t value) {
    const auto word = static_cast<uint32_t>(value);
    std::memcpy(file, &word, sizeof word);
    file += sizeof word;
  };
  put(kMagic);
  put_word(described_.size());
  put(described_);
  for (const auto& [key, outcome] : outcomes_) {
    put_word(key.size());
    put_word(outcome.error);
    put_word(outcome.writes.size());
    put(key);
    put(outcome.writes);
  }
}

void VerdictCache::Load(const uint8_t* bytes, size_t size) {
  if (size > kMaxKeptBytes) return;
  std::string_view left(reinterpret_cast<const char*>(bytes), size);
  const auto take = [&](size_t length) {
    const std::string_view taken = left.substr(0, length);
    left.remove_prefix(taken.size());
    return taken;
  };
  if (take(kMagic.size()) != kMagic || left.size() < 4) return;
  const size_t described = WordAt(take(4).data());
  if (take(described) != described_) return;
  outcomes_.reserve(kMaxOutcomes);
  while (left.size() >= kHead) {
    const std::string_view head = take(kHead);
    const size_t key_size = WordAt(head.data());
    const size_t writes_size = WordAt(head.data() + 8);
    if (key_size > left.size() || writes_size > left.size() - key_size) return;
    const std::string_view key = take(key_size);
    const Outcome outcome = {WordAt(head.data() + 4), false, take(writes_size)};
    if (!Accepts(key, outcome)) return;
    kept_bytes_ += key_size + writes_size;
    outcomes_.emplace(key, outcome);
  }
}

}  // namespace waep::seccomp
