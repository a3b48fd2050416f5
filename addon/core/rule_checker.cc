// SPDX-License-Identifier: MIT
#include "rule_checker.h"

#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace waep {
namespace {

// No name that the kernel takes is longer (PATH_MAX).
constexpr size_t kMaxText = 4096;
constexpr char kUnknownPointer[] = "a pointer that is no relocation";

uint64_t SaturatingMultiply(uint64_t a, uint64_t b) {
  uint64_t product = 0;
  return __builtin_mul_overflow(a, b, &product) ? UINT64_MAX : product;
}

uint64_t SaturatingAdd(uint64_t a, uint64_t b) {
  uint64_t sum = 0;
  return __builtin_add_overflow(a, b, &sum) ? UINT64_MAX : sum;
}

bool IsOpen(uint64_t fd) {
  struct stat status;
  return fd <= INT32_MAX && ::fstat(static_cast<int>(fd), &status) == 0;
}

// The beginning of a text of the client's, as a text that anybody can print.
std::string Printable(std::string_view text) {
  constexpr size_t kShown = 256;
  std::string shown(text.substr(0, kShown));
  for (char& character : shown) {
    if (character < ' ' || character > '~') character = '?';
  }
  return shown;
}

void Hold(const Charges& charges, Charges* holder) {
  for (const auto& charge : charges) {
    if (std::find(holder->begin(), holder->end(), charge) == holder->end()) {
      holder->push_back(charge);
    }
  }
}

}  // namespace

bool RuleChecker::Allows(uint64_t operation, const CallImage& image, const HandleTable& handles) {
  taken_.clear();
  const auto found = rules_.checks.find(operation);
  if (found == rules_.checks.end()) return true;
  image_ = &image;
  handles_ = &handles;
  origins_known_ = false;
  for (const Check& check : found->second) {
    const bool applies =
        std::all_of(check.when.begin(), check.when.end(), [&](const Check::Condition& condition) {
          return condition.values.Contains(image.Word(condition.offset, 4));
        });
    if (applies && !std::visit([&](const auto& what) { return Test(check, what); }, check.what)) {
      taken_.clear();
      return false;
    }
  }
  return true;
}

void RuleChecker::Settle(uint32_t command, bool succeeded, Handle* bound, const CallImage& image,
                         HandleTable* handles) {
  if (!succeeded) {
    taken_.clear();
    return;
  }
  const bool keeps = rules_.keeping.Contains(command);
  std::vector<Handle*> involved;
  if (bound != nullptr || keeps || image.relocations.size() > 1) {
    for (const CallImage::Relocation& relocation : image.relocations) {
      if (relocation.kind != CallImage::kFd32 && relocation.kind != CallImage::kFd64) continue;
      const auto handle = handles->find(relocation.target);
      if (handle == handles->end() || handle->second.charges.empty()) continue;
      if (involved.empty() || involved.back() != &handle->second) {
        involved.push_back(&handle->second);
      }
    }
  }
  if (bound != nullptr) {
    for (const Handle* handle : involved) Hold(handle->charges, &bound->charges);
    Hold(taken_, &bound->charges);
  } else if (!taken_.empty()) {
    // A new object that has no handle lives until the session ends.
    Hold(taken_, &kept_);
  } else if (involved.size() > 1) {
    Charges all;
    for (const Handle* handle : involved) Hold(handle->charges, &all);
    for (Handle* handle : involved) Hold(all, &handle->charges);
  }
  if (keeps) {
    for (const Handle* handle : involved) Hold(handle->charges, &kept_);
  }
  taken_.clear();
}

bool RuleChecker::Test(const Check& check, const WordCheck& what) {
  return TestValue(check, what.values, image_->Word(what.offset, what.width));
}

bool RuleChecker::Test(const Check& check, const WordsCheck& what) {
  const CallImage::Stretch words = image_->Behind(0, what.pointer);
  if (words.kind == CallImage::Stretch::kUnknown) return Refuse(check, kUnknownPointer);
  for (size_t offset = 0; offset + 4 <= words.size; offset += 4) {
    uint32_t value;
    std::memcpy(&value, words.data + offset, 4);
    if (!TestValue(check, what.values, value)) return false;
  }
  return true;
}

bool RuleChecker::Test(const Check& check, const RecordsCheck& what) {
  const CallImage::Stretch records = image_->Behind(0, what.pointer);
  if (records.kind == CallImage::Stretch::kUnknown) return Refuse(check, kUnknownPointer);
  // Where the buffer is too short for them, the kernel finds an inaccessible page and gives up.
  const size_t count = std::min<size_t>(records.size / 8, image_->Word(what.count, 4));
  for (size_t i = 0; i < count; ++i) {
    uint64_t record;
    std::memcpy(&record, records.data + i * 8, 8);
    if ((record & what.mask) != what.pattern) continue;
    if (!TestValue(check, what.values, record >> what.shift & what.value_mask)) return false;
  }
  return true;
}

bool RuleChecker::Test(const Check& check, const TextCheck& what) {
  const CallImage::Stretch behind = image_->Behind(0, what.pointer);
  if (!what.array) return TestText(check, what, behind);
  if (behind.kind == CallImage::Stretch::kUnknown) return Refuse(check, kUnknownPointer);
  const size_t count = std::min<size_t>(behind.size / 8, image_->Word(what.count, 4));
  for (size_t i = 0; i < count; ++i) {
    if (!TestText(check, what, image_->Behind(behind.buffer, behind.offset + i * 8))) return false;
  }
  return true;
}

bool RuleChecker::TestText(const Check& check, const TextCheck& what,
                           const CallImage::Stretch& text) {
  if (text.kind == CallImage::Stretch::kNull) return true;
  if (text.kind == CallImage::Stretch::kUnknown) return Refuse(check, kUnknownPointer);
  const auto* const characters = reinterpret_cast<const char*>(text.data);
  const std::string_view name(characters, ::strnlen(characters, std::min(text.size, kMaxText)));
  const bool matches = name.size() < kMaxText && (what.paths ? MatchesPath(name, what.patterns)
                                                             : MatchesGlobs(name, what.patterns));
  return matches || Refuse(check, Printable(name));
}

bool RuleChecker::Test(const Check& check, const QuotaCheck& what) {
  uint64_t amount = what.constant;
  for (const QuotaCheck::Term& term : what.terms) {
    const uint64_t word = image_->Word(term.offset, 4);
    const uint64_t rounded = (word + term.round - 1) / term.round * term.round;
    amount = SaturatingAdd(amount, SaturatingMultiply(rounded, term.multiplier));
  }
  if (what.factor != QuotaCheck::kNoFactor) {
    amount = SaturatingMultiply(amount, image_->Word(what.factor, 4));
  }
  uint64_t* const used = &used_[what.counter];
  if (amount > what.maximum || *used > what.maximum - amount) {
    return Refuse(check, std::to_string(amount) + " more beside the " + std::to_string(*used) +
                             " there are, of " + std::to_string(what.maximum));
  }
  taken_.push_back(std::make_shared<Charge>(used, amount));
  return true;
}

bool RuleChecker::TestValue(const Check& check, const Values& values, uint64_t value) {
  if (!values.origins) {
    return values.ranges.Contains(value) || Refuse(check, rules_.Name(check.vocabulary, value));
  }
  return TestOrigin(check, values.ranges, value);
}

bool RuleChecker::TestOrigin(const Check& check, const Ranges& refused, uint64_t fd) {
  if (!origins_known_) {
    origins_.clear();
    for (const auto& [number, handle] : *handles_) {
      const auto index = static_cast<size_t>(handle.get());
      if (index >= origins_.size()) origins_.resize(index + 1, kNoHandle);
      origins_[index] = handle.origin;
    }
    origins_known_ = true;
  }
  if (fd < first_fd_) return true;
  const uint64_t origin = fd < origins_.size() ? origins_[fd] : kNoHandle;
  if (origin == kNoHandle) return !IsOpen(fd) || Refuse(check, "a descriptor without a handle");
  return !refused.Contains(origin) || Refuse(check, "an object from " + rules_.Name(1, origin));
}

bool RuleChecker::Refuse(const Check& check, std::string value) {
  refusal_ = {check.rule, std::move(value)};
  return false;
}

}  // namespace waep
