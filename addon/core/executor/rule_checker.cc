// SPDX-License-Identifier: MIT
#include "rule_checker.h"

#include <linux/netlink.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace waep {
namespace {

constexpr size_t kKeptIndices = 4096;
constexpr char kUnknownPointer[] = "a pointer that is no relocation";

uint64_t SaturatingMultiply(uint64_t a, uint64_t b) {
  uint64_t product = 0;
  return __builtin_mul_overflow(a, b, &product) ? UINT64_MAX : product;
}

uint64_t SaturatingAdd(uint64_t a, uint64_t b) {
  uint64_t sum = 0;
  return __builtin_add_overflow(a, b, &sum) ? UINT64_MAX : sum;
}

// Returns the beginning of a client's text, in characters that are safe to print.
std::string Printable(std::string_view text) {
  constexpr size_t kShown = 256;
  std::string shown(text.substr(0, kShown));
  for (char& character : shown) {
    if (character < ' ' || character > '~') character = '?';
  }
  return shown;
}

uint64_t RecordAt(const CallImage::Stretch& records, size_t index) {
  uint64_t record;
  std::memcpy(&record, records.data + index * sizeof record, sizeof record);
  return record;
}

// Returns whether a file is still the one whose places were looked up. A missing file passes,
// because the kernel refuses it.
bool IsSame(const ProbesCheck::File& file) {
  struct stat about;
  if (file.identity.empty() || ::stat(file.path.c_str(), &about) < 0) return true;
  constexpr uint64_t kNsPerSecond = 1'000'000'000;
  const auto ns = [](const timespec& time) {
    return static_cast<uint64_t>(time.tv_sec) * kNsPerSecond + static_cast<uint64_t>(time.tv_nsec);
  };
  const uint64_t numbers[] = {about.st_dev, about.st_ino, static_cast<uint64_t>(about.st_size),
                              ns(about.st_mtim), ns(about.st_ctim)};
  std::string identity;
  for (const uint64_t number : numbers) {
    if (!identity.empty()) identity += '.';
    identity += std::to_string(number);
  }
  return identity == file.identity;
}

void Hold(const Charges& charges, Charges* holder) {
  for (const auto& charge : charges) {
    if (std::find(holder->begin(), holder->end(), charge) == holder->end()) {
      holder->push_back(charge);
    }
  }
}

}  // namespace

bool RuleChecker::Allows(uint64_t operation, const CallImage& image, HandleTable* handles) {
  taken_.clear();
  judged_.clear();
  numbered_.clear();
  may_name_copy_ = false;
  image_ = &image;
  handles_ = handles;
  found_.where = nullptr;
  const auto found = rules_.checks.find(operation);
  if (found == rules_.checks.end()) return TestForeign();
  checks_ = &found->second;
  const bool passes_elements = PassesElements();
  for (const Check& check : checks_->all) {
    if (passes_elements && std::holds_alternative<ElementsCheck>(check.what)) continue;
    if (Applies(check) &&
        !std::visit([&](const auto& what) { return Test(check, what); }, check.what)) {
      taken_.clear();
      return false;
    }
  }
  if (TestForeign()) return true;
  taken_.clear();
  return false;
}

// Most calls are about maps whose elements contain no descriptors. They skip the checks of
// elements.
bool RuleChecker::PassesElements() const {
  Handle* const map = checks_->element_types == 0 ? nullptr : HandleAt(0, checks_->element_map);
  if (map == nullptr) return false;
  const ObjectInfo& info = InfoOf(map);
  return info.state == ObjectInfo::kKnown && checks_->PassesElementsOf(info.type);
}

bool RuleChecker::Applies(const Check& check) const {
  for (const Check::Condition& condition : check.when) {
    if (!Applies(condition)) return false;
  }
  return true;
}

bool RuleChecker::Applies(const Check::Condition& condition) const {
  if (!condition.type) return condition.values.Contains(image_->Word(condition.offset, 4));
  // If the word names no object, the kernel refuses the call. If the kernel does not tell the
  // object's type, the check applies.
  Handle* const handle = HandleAt(0, condition.offset);
  if (handle == nullptr) return true;
  const ObjectInfo& info = InfoOf(handle);
  return info.state == ObjectInfo::kUnknown || condition.values.Contains(info.type);
}

const ObjectInfo& RuleChecker::InfoOf(Handle* handle) const {
  if (handle->info.state == ObjectInfo::kUnasked) {
    handle->info = ask_(context_, handle->get());
  }
  return handle->info;
}

void RuleChecker::Commit(uint64_t operation, const Outcome& outcome, const CallImage& image) {
  const auto& [succeeded, partly, bound, on, leaves] = outcome;
  if (!succeeded) taken_.clear();
  if (!succeeded && !partly) return;
  const bool keeps = leaves || (succeeded && rules_.pins.Contains(operation));
  std::vector<Handle*>& involved = involved_;
  involved.clear();
  // A handle without charges may now have to hold those of another handle.
  if (on != nullptr) involved.push_back(on);
  involved.insert(involved.end(), numbered_.begin(), numbered_.end());
  if (bound != nullptr || keeps || !involved.empty() || image.relocations.size() > 1) {
    for (const CallImage::Relocation& relocation : image.relocations) {
      if (!relocation.is_descriptor()) continue;
      if (involved.empty() || involved.back() != relocation.handle) {
        involved.push_back(relocation.handle);
      }
    }
  }
  // A call that names no object and makes none has opened one that was there before.
  if (bound != nullptr && involved.empty() && taken_.empty()) HoldAsOthers(bound);
  if (bound != nullptr) {
    for (const Handle* handle : involved) Hold(handle->charges, &bound->charges);
    if (may_name_copy_) {
      for (const auto& [in_use, charges] : lingering_) Hold(charges, &bound->charges);
    }
    Hold(taken_, &bound->charges);
  } else if (leaves || !taken_.empty()) {
    Hold(taken_, &kept_);
  } else if (involved.size() > 1) {
    Charges all;
    for (const Handle* handle : involved) Hold(handle->charges, &all);
    for (Handle* handle : involved) Hold(all, &handle->charges);
  }
  if (keeps) {
    for (const Handle* handle : involved) Hold(handle->charges, &kept_);
    if (may_name_copy_) {
      for (const auto& [in_use, charges] : lingering_) Hold(charges, &kept_);
    }
  }
  taken_.clear();
}

void RuleChecker::HoldAsOthers(Handle* opened) {
  for (auto& [name, handle] : *handles_) {
    if (&handle == opened || handle.charges.empty()) continue;
    if (InfoOf(&handle).IsSame(InfoOf(opened))) Hold(handle.charges, &opened->charges);
  }
}

void RuleChecker::Closed(const Handle& handle, InUse copies) {
  if (copies.use_count() > 1 && !handle.charges.empty()) {
    lingering_.emplace_back(std::move(copies), handle.charges);
  }
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

const RuleChecker::FoundRecords& RuleChecker::Find(const Records& records) {
  if (found_.where != nullptr && found_.where->pointer == records.pointer &&
      found_.where->count == records.count) {
    return found_;
  }
  found_.where = &records;
  found_.stretch = image_->Behind(0, records.pointer);
  found_.indices.clear();
  // Memory for a large program is not kept for small ones.
  if (found_.indices.capacity() > kKeptIndices) found_.indices.shrink_to_fit();
  // If the buffer is too short, the kernel meets an inaccessible page and fails.
  const size_t count = std::min<size_t>(found_.stretch.size / 8, image_->Word(records.count, 4));
  const std::array<bool, 256>& wanted = checks_->record_bytes;
  const uint8_t* const bytes = found_.stretch.data;
  for (size_t i = 0; i < count; ++i) {
    if (wanted[bytes[i * 8]]) found_.indices.push_back(static_cast<uint32_t>(i));
  }
  return found_;
}

bool RuleChecker::Test(const Check& check, const RecordsCheck& what) {
  const auto& [where, records, indices] = Find(what.records);
  if (records.kind == CallImage::Stretch::kUnknown) return Refuse(check, kUnknownPointer);
  for (const uint32_t i : indices) {
    const uint64_t record = RecordAt(records, i);
    if (!what.records.Has(record)) continue;
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
  const std::string_view name(characters,
                              ::strnlen(characters, std::min<size_t>(text.size, what.maximum)));
  // If a text has no NUL, it is unknown how much of it the kernel reads.
  const bool ends = name.size() < std::min<size_t>(text.size, what.maximum);
  const bool matches =
      ends && (what.paths ? MatchesPath(name, what.patterns) : MatchesGlobs(name, what.patterns));
  return matches || Refuse(check, Printable(name));
}

bool RuleChecker::Test(const Check& check, const QuotaCheck& what) {
  lingering_.erase(std::remove_if(lingering_.begin(), lingering_.end(),
                                  [](const auto& one) { return one.first.use_count() == 1; }),
                   lingering_.end());
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

bool RuleChecker::Test(const Check& check, const RestCheck& what) {
  const CallImage::Buffer& attribute = image_->buffers[0];
  const size_t offset = attribute.FirstNonzero(what.offset);
  return offset == attribute.size ||
         Refuse(check, "byte " + std::to_string(offset) + " of the attribute, which ends at " +
                           std::to_string(what.offset) + " for all that is known here");
}

bool RuleChecker::Test(const Check& check, const DescriptorCheck& what) {
  if (what.pointer == DescriptorCheck::kAttribute) {
    return TestDescriptor(what.presence, what.objects, 0, what.offset);
  }
  const CallImage::Stretch behind = image_->Behind(0, what.pointer);
  if (behind.kind == CallImage::Stretch::kUnknown) return Refuse(check, kUnknownPointer);
  return behind.kind == CallImage::Stretch::kNull ||
         TestDescriptor(what.presence, what.objects, behind.buffer, behind.offset + what.offset);
}

bool RuleChecker::Test(const Check& check, const DescriptorsCheck& what) {
  const CallImage::Stretch behind = image_->Behind(0, what.pointer);
  if (behind.kind == CallImage::Stretch::kUnknown) return Refuse(check, kUnknownPointer);
  const size_t count = std::min<size_t>(behind.size / 4, image_->Word(what.count, 4));
  for (size_t i = 0; i < count; ++i) {
    if (!TestDescriptor({}, what.objects, behind.buffer, behind.offset + i * 4)) return false;
  }
  return true;
}

bool RuleChecker::Test(const Check& check, const ReferencesCheck& what) {
  const auto& [where, records, indices] = Find(what.records);
  if (records.kind == CallImage::Stretch::kUnknown) return Refuse(check, kUnknownPointer);
  for (const uint32_t i : indices) {
    if (what.records.Has(RecordAt(records, i)) &&
        !TestDescriptor(what.presence, what.objects, records.buffer,
                        records.offset + size_t{i} * 8 + what.at)) {
      return false;
    }
  }
  return true;
}

bool RuleChecker::Test(const Check& check, const IndicesCheck& what) {
  const auto& [where, records, indices] = Find(what.records);
  if (records.kind == CallImage::Stretch::kUnknown) return Refuse(check, kUnknownPointer);
  for (const uint32_t i : indices) {
    const uint64_t record = RecordAt(records, i);
    if (!what.records.Has(record)) continue;
    const uint32_t unused = 64 - what.bits;
    const int64_t index = static_cast<int64_t>(record >> what.shift << unused) >> unused;
    if (index == 0 && what.zero_is_none) continue;
    const CallImage::Stretch array = image_->Behind(0, what.array);
    if (array.kind == CallImage::Stretch::kUnknown) return Refuse(check, kUnknownPointer);
    // Without an array the kernel accepts no index.
    if (array.kind == CallImage::Stretch::kNull) continue;
    // The kernel adds the index to the array's address. The page behind the array is inaccessible,
    // so the kernel itself refuses an index into it. Farther away there may be any memory.
    const size_t size = array.size / 4;
    if (index < 0 || static_cast<uint64_t>(index) >= (array.size + CallImage::kGuardBytes) / 4) {
      return Refuse(check, "the index " + std::to_string(index) + " into an array of " +
                               std::to_string(size));
    }
    if (static_cast<uint64_t>(index) >= size) continue;
    if (!TestDescriptor({}, what.objects, array.buffer,
                        array.offset + static_cast<size_t>(index) * 4)) {
      return false;
    }
  }
  return true;
}

bool RuleChecker::Test(const Check& check, const ElementsCheck& what) {
  Handle* const map = HandleAt(0, what.map);
  if (map == nullptr) return true;
  const ObjectInfo& info = InfoOf(map);
  if (info.state == ObjectInfo::kUnknown) return Refuse(check, "a map that tells nothing");
  if (!what.types.Contains(info.type)) return true;
  const CallImage::Stretch behind = image_->Behind(0, what.pointer);
  if (behind.kind == CallImage::Stretch::kUnknown) return Refuse(check, kUnknownPointer);
  const size_t stride = what.keys ? info.key_size : info.value_size;
  if (stride < what.at + size_t{4}) return true;
  const uint64_t count = what.count == ElementsCheck::kOne ? 1 : image_->Word(what.count, 4);
  for (size_t i = 0; i < count && (i + 1) * stride <= behind.size; ++i) {
    for (size_t at = what.at; at + 4 <= stride; at += what.step) {
      if (!TestDescriptor(what.presence, what.objects, behind.buffer,
                          behind.offset + i * stride + at, true)) {
        return false;
      }
    }
  }
  return true;
}

bool RuleChecker::Test(const Check& check, const ProbesCheck& what) {
  const CallImage::Stretch text = image_->Behind(0, what.path);
  if (text.kind == CallImage::Stretch::kUnknown) return Refuse(check, kUnknownPointer);
  const auto* const characters = reinterpret_cast<const char*>(text.data);
  const size_t most = std::min<size_t>(text.size, what.maximum);
  const std::string_view path(characters, text.data == nullptr ? 0 : ::strnlen(characters, most));
  const auto file = std::find_if(
      what.files.begin(), what.files.end(),
      [&](const ProbesCheck::File& one) { return path.size() < most && one.path == path; });
  if (file != what.files.end() && !IsSame(*file)) {
    return Refuse(
        check,
        Printable(path) +
            ", which is not the file in which its places were looked up: SIGHUP has the agent "
            "look them up again");
  }
  const auto allows = [&](uint64_t offset, uint64_t counter) {
    const bool known =
        file != what.files.end() &&
        std::any_of(file->places.begin(), file->places.end(), [&](const ProbesCheck::Place& one) {
          return one.offset == offset && (counter == 0 || counter == one.counter);
        });
    std::string value = Printable(path) + "+" + std::to_string(offset);
    if (counter != 0) value += " with a counter at " + std::to_string(counter);
    return known || Refuse(check, std::move(value));
  };
  if (what.count == ProbesCheck::kOne) {
    return allows(image_->Word(what.offset, 8), image_->Word(what.counter, 8) >> what.shift);
  }
  const CallImage::Stretch offsets = image_->Behind(0, what.offset);
  const CallImage::Stretch counters = image_->Behind(0, what.counter);
  if (offsets.kind == CallImage::Stretch::kUnknown ||
      counters.kind == CallImage::Stretch::kUnknown) {
    return Refuse(check, kUnknownPointer);
  }
  const uint64_t count = image_->Word(what.count, 4);
  for (size_t i = 0; i < count && (i + 1) * 8 <= offsets.size; ++i) {
    const bool counted = (i + 1) * 8 <= counters.size;
    if (!allows(RecordAt(offsets, i), counted ? RecordAt(counters, i) : 0)) return false;
  }
  return file != what.files.end() || Refuse(check, Printable(path));
}

bool RuleChecker::Test(const Check& check, const InterfaceCheck& what) {
  const uint32_t index = image_->Word32(0, what.offset);
  const std::string name = ask_name_(context_, index);
  const std::string number = std::to_string(index);
  return std::find(what.names.begin(), what.names.end(), name) != what.names.end() ||
         Refuse(check, name.empty() ? number : Printable(name) + " (" + number + ")");
}

bool RuleChecker::Test(const Check& check, const AttributesCheck& what) {
  const size_t size = image_->buffers[0].size;
  if (size < what.offset) return Refuse(check, "a message of " + std::to_string(size) + " bytes");
  return TestAttributes(check, what.attributes, what.offset, size);
}

bool RuleChecker::TestAttributes(const Check& check, const std::vector<NetlinkAttribute>& known,
                                 size_t begin, size_t end) {
  std::vector<const NetlinkAttribute*> found;
  for (size_t at = begin; at < end;) {
    const size_t length = end - at < NLA_HDRLEN ? 0 : static_cast<size_t>(image_->Word(at, 2));
    if (length < NLA_HDRLEN || length > end - at) {
      return Refuse(check, "an attribute of " + std::to_string(length) + " bytes, with " +
                               std::to_string(end - at) + " left");
    }
    const auto type = static_cast<uint32_t>(image_->Word(at + 2, 2)) & NLA_TYPE_MASK;
    const auto attribute =
        std::find_if(known.begin(), known.end(),
                     [type](const NetlinkAttribute& one) { return one.type == type; });
    if (attribute == known.end()) return Refuse(check, "the attribute " + std::to_string(type));
    if (std::find(found.begin(), found.end(), &*attribute) != found.end()) {
      return Refuse(check, "the attribute " + std::to_string(type) + " twice");
    }
    found.push_back(&*attribute);
    const size_t content = at + NLA_HDRLEN;
    const size_t size = length - NLA_HDRLEN;
    switch (attribute->form) {
      case NetlinkAttribute::kBytes:
        break;
      case NetlinkAttribute::kDescriptor:
        if (size != 4) {
          return Refuse(check, "the attribute " + std::to_string(type) + " of " +
                                   std::to_string(size) + " bytes");
        }
        if (!TestDescriptor({}, attribute->objects, 0, content)) return false;
        break;
      case NetlinkAttribute::kText: {
        const auto* const text = reinterpret_cast<const char*>(image_->buffers[0].memory) + content;
        const std::string_view value(text, ::strnlen(text, size));
        const auto& texts = attribute->texts;
        if (std::find(texts.begin(), texts.end(), value) == texts.end()) {
          return Refuse(check, value.empty() ? "no kind" : Printable(value));
        }
        break;
      }
      case NetlinkAttribute::kNested:
        if (!TestAttributes(check, attribute->nested, content, content + size)) return false;
        break;
    }
    at += NLA_ALIGN(length);
  }
  for (const NetlinkAttribute& attribute : known) {
    if (attribute.required && std::find(found.begin(), found.end(), &attribute) == found.end()) {
      return Refuse(check, "no attribute " + std::to_string(attribute.type));
    }
  }
  return true;
}

bool RuleChecker::IsPresent(const Presence& presence, uint32_t number) const {
  switch (presence.kind) {
    case Presence::kNonzero:
      return number != 0;
    case Presence::kFlag:
      return (image_->Word(presence.offset, 8) & presence.mask) != 0;
    case Presence::kUnless:
      return number != 0 && (image_->Word(presence.offset, 8) & presence.mask) == 0;
    case Presence::kPositive:
      return number != 0 && number <= INT32_MAX;
    default:
      return true;
  }
}

bool RuleChecker::TestDescriptor(const Presence& presence, const Objects& objects, uint32_t buffer,
                                 size_t offset, bool is_element) {
  const CallImage::Relocation* const named = Descriptor(buffer, offset);
  if (named != nullptr) {
    const Handle& handle = *named->handle;
    if (objects.refused.Contains(handle.origin)) return RefuseObject(handle, objects.use);
    if (rules_.foreign.Contains(handle.origin)) judged_.push_back(named);
    return true;
  }
  const uint32_t number = image_->Word32(buffer, offset);
  if (!IsPresent(presence, number) || number > INT32_MAX) return true;
  // The standard descriptors are no objects of bpf(2). But one of them is a socket, which a map can
  // have as an element.
  if (!is_element && number < first_fd_) return true;
  if (presence.kind != Presence::kPerhaps) return RefuseNumber(number);
  // Only another thread knows which copies exist. So this may be a copy of any object of the
  // session.
  const bool may_be_copy = number >= first_copy_ && number < end_of_copies_;
  may_name_copy_ = may_name_copy_ || may_be_copy;
  for (auto& [name, handle] : *handles_) {
    const bool is_this = static_cast<uint32_t>(handle.get()) == number;
    if (is_this && objects.refused.Contains(handle.origin)) return RefuseNumber(number);
    if (is_this || may_be_copy) numbered_.push_back(&handle);
  }
  return true;
}

// Refuses foreign objects in places that no check has judged. Checks cover all known places, and it
// is unknown what the kernel does with an object in any other place.
bool RuleChecker::TestForeign() {
  if (rules_.foreign.ranges.empty()) return true;
  for (const CallImage::Relocation& relocation : image_->relocations) {
    if (!relocation.is_descriptor()) continue;
    const Handle& handle = *relocation.handle;
    if (!rules_.foreign.Contains(handle.origin)) continue;
    if (std::find(judged_.begin(), judged_.end(), &relocation) == judged_.end()) {
      return RefuseObject(handle, "used in a way that is not known");
    }
  }
  return true;
}

const CallImage::Relocation* RuleChecker::Descriptor(uint32_t buffer, size_t offset) const {
  const CallImage::Relocation* const found = image_->RelocationAt(buffer, offset);
  return found != nullptr && found->is_descriptor() ? found : nullptr;
}

Handle* RuleChecker::HandleAt(uint32_t buffer, size_t offset) const {
  const CallImage::Relocation* const named = Descriptor(buffer, offset);
  return named == nullptr ? nullptr : named->handle;
}

bool RuleChecker::TestValue(const Check& check, const Ranges& values, uint64_t value) {
  return values.Contains(value) || Refuse(check, rules_.Name(check.vocabulary, value));
}

bool RuleChecker::RefuseNumber(uint32_t number) {
  refusal_ = {"descriptors", "the number " + std::to_string(number) + ", which names no handle"};
  return false;
}

bool RuleChecker::RefuseObject(const Handle& handle, const std::string& use) {
  refusal_ = {"foreign_objects", "an object from " + rules_.Name(1, handle.origin) + ", " + use};
  return false;
}

bool RuleChecker::Refuse(const Check& check, std::string value) {
  refusal_ = {check.rule, std::move(value)};
  return false;
}

}  // namespace waep
