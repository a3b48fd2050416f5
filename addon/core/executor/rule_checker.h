// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "call_image.h"
#include "handles.h"
#include "rules.h"
#include "shared_handles.h"

namespace waep {

// Holds calls against a session's rules, and keeps count of what the rules limit.
class RuleChecker {
 public:
  struct Refusal {
    std::string rule;
    std::string value;
  };

  // Asks the kernel about a descriptor's object.
  using AskFunction = ObjectInfo (*)(const void* context, int fd);
  // Asks the kernel for a network interface's name; empty where there is none.
  using AskNameFunction = std::string (*)(const void* context, uint32_t index);

  RuleChecker(const Rules& rules, AskFunction ask, AskNameFunction ask_name, const void* context)
      : rules_(rules), ask_(ask), ask_name_(ask_name), context_(context) {}

  // Descriptors below `first` are not the session's. From `last` up to, but not, `end` there may be
  // copies of the session's.
  void SetDescriptors(uint32_t first, uint32_t last, uint32_t end) {
    first_fd_ = first;
    first_copy_ = last;
    end_of_copies_ = end;
  }

  // Whether a call may be made; to be asked once its relocations are in place. If so, and if it has
  // quotas, they are taken until Commit.
  bool Allows(uint64_t operation, const CallImage& image, HandleTable* handles);
  [[nodiscard]] const Refusal& refusal() const { return refusal_; }

  // What the object behind a handle is.
  const ObjectInfo& InfoOf(Handle* handle) const;

  // How a call went.
  struct Outcome {
    bool succeeded = false;
    bool partly = false;      // where it has not, whether some of it may have been done
    Handle* bound = nullptr;  // the new handle
    Handle* on = nullptr;     // the handle that it was made on, where that is not in the image
    bool leaves = false;      // a descriptor that has no handle, which stays open
  };
  // Ends a call. Its charges go to what holds its objects: to the new handle, which also holds what
  // it was made from; without one, to every handle that it brought together; to the session where
  // it leaves something that has no handle.
  void Commit(uint64_t operation, const Outcome& outcome, const CallImage& image);

  // Takes note that a handle is being closed. What it has taken of the quotas stays taken while
  // there are copies of its descriptor.
  void Closed(const Handle& handle, InUse copies);

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
  bool Test(const Check& check, const InterfaceCheck& what);
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
  AskNameFunction ask_name_;
  const void* context_;
  uint32_t first_fd_ = 3;
  uint32_t first_copy_ = UINT32_MAX;
  uint32_t end_of_copies_ = UINT32_MAX;
  const CallImage* image_ = nullptr;
  HandleTable* handles_ = nullptr;
  const Checks* checks_ = nullptr;
  FoundRecords found_;                                // of the call
  std::vector<const CallImage::Relocation*> judged_;  // those of objects of others
  std::vector<Handle*> numbered_;  // what numbers of the call may name, beside its relocations
  bool may_name_copy_ = false;     // whether that may be a copy of one that is closed
  std::vector<Handle*> involved_;  // while a call is committed
  std::array<uint64_t, Rules::kMaxCounters> used_ = {};
  Charges taken_;
  Charges kept_;  // until the session ends
  // Of handles that are closed, while there are copies of their descriptors.
  std::vector<std::pair<InUse, Charges>> lingering_;
  Refusal refusal_;
};

}  // namespace waep
