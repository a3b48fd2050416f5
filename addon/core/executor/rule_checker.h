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

// Checks calls against a session's rules, and counts what the rules limit.
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

  // The session's descriptors have numbers in [first, last). Numbers in [last, end) may be copies
  // of them.
  void SetDescriptors(uint32_t first, uint32_t last, uint32_t end) {
    first_fd_ = first;
    first_copy_ = last;
    end_of_copies_ = end;
  }

  // Returns whether a call may be made. It must be called after the relocations are written. The
  // quota amounts of an allowed call are taken until Commit.
  bool Allows(uint64_t operation, const CallImage& image, HandleTable* handles);
  [[nodiscard]] const Refusal& refusal() const { return refusal_; }

  // Returns what the kernel says about the object behind a handle.
  const ObjectInfo& InfoOf(Handle* handle) const;

  // The outcome of a call.
  struct Outcome {
    bool succeeded = false;
    bool partly = false;      // after a failure: whether a part may have been done
    Handle* bound = nullptr;  // the new handle
    Handle* on = nullptr;     // the handle that it was made on, if the image has none
    bool leaves = false;      // whether a descriptor without a handle stays open
  };
  // Ends a call and hands out its charges. They go to the new handle, which also gets the charges
  // of the objects that it was made from. Without a new handle they go to every handle that the
  // call brought together, or to the session if the call leaves something without a handle.
  void Commit(uint64_t operation, const Outcome& outcome, const CallImage& image);

  // Gives a handle the charges of the other handles of its object.
  void HoldAsOthers(Handle* opened);

  // Notes that a handle is being closed. Its quota amounts stay in use as long as its descriptor
  // has copies.
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
  bool Test(const Check& check, const AttributesCheck& what);
  // Tests the attributes of a stretch of a message.
  bool TestAttributes(const Check& check, const std::vector<NetlinkAttribute>& known, size_t begin,
                      size_t end);
  bool TestText(const Check& check, const TextCheck& what, const CallImage::Stretch& text);
  bool TestValue(const Check& check, const Ranges& values, uint64_t value);
  // Tests a word of a buffer that is a descriptor.
  bool TestDescriptor(const Presence& presence, const Objects& objects, uint32_t buffer,
                      size_t offset, bool is_element = false);
  bool TestForeign();
  // The records behind a pointer that checks of the operation may be about.
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
  // Returns the relocation that puts a descriptor in a word, or null.
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
  FoundRecords found_;                                // of the present call
  std::vector<const CallImage::Relocation*> judged_;  // of foreign objects, judged
  std::vector<Handle*> numbered_;  // handles that plain numbers in the call may name
  bool may_name_copy_ = false;     // whether such a number may be a copy of a closed handle
  std::vector<Handle*> involved_;  // used while a call is committed
  std::array<uint64_t, Rules::kMaxCounters> used_ = {};
  Charges taken_;
  Charges kept_;  // charges until the session ends
  // The charges of closed handles whose descriptors still have copies.
  std::vector<std::pair<InUse, Charges>> lingering_;
  Refusal refusal_;
};

}  // namespace waep
