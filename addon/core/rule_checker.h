// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "call_image.h"
#include "handles.h"
#include "rules.h"

namespace waep {

// Holds calls against a session's rules, and keeps count of what the rules limit.
class RuleChecker {
 public:
  struct Refusal {
    std::string rule;
    std::string value;
  };

  explicit RuleChecker(const Rules& rules) : rules_(rules) {}

  // Descriptors below this number are not the session's.
  void set_first_fd(uint64_t fd) { first_fd_ = fd; }

  // Whether a call may be made; to be asked once its relocations are in place. If so, and if it has
  // quotas, they are taken until Settle.
  bool Allows(uint64_t operation, const CallImage& image, const HandleTable& handles);
  [[nodiscard]] const Refusal& refusal() const { return refusal_; }

  // Says how the call went: null handle when it bound none. Its charges go to what holds its
  // objects: to the new handle, which also holds what it was made from; without one, to every
  // handle that it brought together.
  void Settle(uint32_t command, bool succeeded, Handle* bound, const CallImage& image,
              HandleTable* handles);

 private:
  bool Test(const Check& check, const WordCheck& what);
  bool Test(const Check& check, const WordsCheck& what);
  bool Test(const Check& check, const RecordsCheck& what);
  bool Test(const Check& check, const TextCheck& what);
  bool Test(const Check& check, const QuotaCheck& what);
  bool TestText(const Check& check, const TextCheck& what, const CallImage::Stretch& text);
  bool TestValue(const Check& check, const Values& values, uint64_t value);
  bool TestOrigin(const Check& check, const Ranges& refused, uint64_t fd);
  bool Refuse(const Check& check, std::string value);

  const Rules& rules_;
  uint64_t first_fd_ = 3;
  const CallImage* image_ = nullptr;
  const HandleTable* handles_ = nullptr;
  static constexpr uint64_t kNoHandle = UINT64_MAX;
  std::vector<uint64_t> origins_;  // by descriptor; filled when first needed in a call
  bool origins_known_ = false;
  std::array<uint64_t, Rules::kMaxCounters> used_ = {};
  Charges taken_;
  Charges kept_;  // until the session ends
  Refusal refusal_;
};

}  // namespace waep
