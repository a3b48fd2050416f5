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

  // Asks the kernel for a descriptor's facts.
  using AskFunction = ObjectFacts (*)(const void* context, int fd);

  RuleChecker(const Rules& rules, AskFunction ask, const void* context)
      : rules_(rules), ask_(ask), context_(context) {}

  // Descriptors below this number are not the session's.
  void set_first_fd(uint64_t fd) { first_fd_ = fd; }

  // Whether a call may be made; to be asked once its relocations are in place. If so, and if it has
  // quotas, they are taken until Commit.
  bool Allows(uint64_t operation, const CallImage& image, HandleTable* handles);
  [[nodiscard]] const Refusal& refusal() const { return refusal_; }

  // What the object behind a handle is.
  const ObjectFacts& FactsOf(Handle* handle) const;

  // Says how the call went: null handle when it bound none; `on` is the handle that it was made on,
  // where that is not in the image. Its charges go to what holds its objects: to the new handle,
  // which also holds what it was made from; without one, to every handle that it brought together.
  void Commit(uint64_t operation, bool succeeded, Handle* bound, Handle* on,
              const CallImage& image);

 private:
  bool Test(const Check& check, const WordCheck& what);
  bool Test(const Check& check, const WordsCheck& what);
  bool Test(const Check& check, const RecordsCheck& what);
  bool Test(const Check& check, const TextCheck& what);
  bool Test(const Check& check, const QuotaCheck& what);
  bool Test(const Check& check, const RestCheck& what);
  bool Test(const Check& check, const DescriptorCheck& what);
  bool Test(const Check& check, const DescriptorsCheck& what);
  bool Test(const Check& check, const ReferencesCheck& what);
  bool Test(const Check& check, const IndicesCheck& what);
  bool Test(const Check& check, const ElementsCheck& what);
  bool Test(const Check& check, const ProbesCheck& what);
  bool TestText(const Check& check, const TextCheck& what, const CallImage::Stretch& text);
  bool TestValue(const Check& check, const Ranges& values, uint64_t value);
  // A word of a buffer that is a descriptor.
  bool TestDescriptor(const Presence& presence, const Objects& objects, uint32_t buffer,
                      size_t offset);
  bool TestForeign();
  // What checks are about of the records behind a pointer: all that one of the operation's may
  // have.
  struct FoundRecords {
    const Records* where = nullptr;  // null before they are looked for
    CallImage::Stretch stretch;
    std::vector<uint32_t> indices;
  };
  const FoundRecords& Find(const Records& records);
  bool Refuse(const Check& check, std::string value);
  bool RefuseNumber(uint32_t number);
  bool RefuseObject(const Handle& handle, const std::string& use);

  [[nodiscard]] bool PassesElements() const;
  [[nodiscard]] bool Applies(const Check& check) const;
  [[nodiscard]] bool Applies(const Check::Condition& condition) const;
  [[nodiscard]] bool IsPresent(const Presence& presence, uint32_t number) const;
  // The relocation that puts a descriptor in a word, or null.
  [[nodiscard]] const CallImage::Relocation* Descriptor(uint32_t buffer, size_t offset) const;
  [[nodiscard]] Handle* HandleAt(uint32_t buffer, size_t offset) const;

  const Rules& rules_;
  AskFunction ask_;
  const void* context_;
  uint64_t first_fd_ = 3;
  const CallImage* image_ = nullptr;
  HandleTable* handles_ = nullptr;
  const Checks* checks_ = nullptr;
  FoundRecords found_;                                // of the call
  std::vector<const CallImage::Relocation*> judged_;  // those of objects of others
  std::vector<Handle*> numbered_;  // what numbers of the call may name, beside its relocations
  std::vector<Handle*> involved_;  // while a call is committed
  std::array<uint64_t, Rules::kMaxCounters> used_ = {};
  Charges taken_;
  Charges kept_;  // until the session ends
  Refusal refusal_;
};

}  // namespace waep
