// SPDX-License-Identifier: MIT
#include "audit_trail.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <set>
#include <string>
#include <vector>

#include "cbor.h"

namespace waep {
namespace {

constexpr size_t kMaxValues = 32;
constexpr size_t kMaxText = 200;
constexpr size_t kMaxList = 2000;

// Collects texts by name.
class Record {
 public:
  void Add(std::string_view key, std::string_view value) {
    facts_.emplace_back(Printable(key), Printable(value));
  }

  [[nodiscard]] bool Has(std::string_view key) const {
    return std::any_of(facts_.begin(), facts_.end(),
                       [key](const auto& fact) { return fact.first == key; });
  }

  [[nodiscard]] std::vector<uint8_t> Encode() const {
    std::vector<uint8_t> encoded;
    cbor::Writer writer(&encoded);
    writer.Head(cbor::kMap, facts_.size());
    for (const auto& [key, value] : facts_) {
      writer.Text(key);
      writer.Text(value);
    }
    return encoded;
  }

 private:
  static std::string Printable(std::string_view text) {
    std::string shown(text.substr(0, kMaxList));
    for (char& character : shown) {
      if (character < ' ' || character > '~') character = '?';
    }
    return shown;
  }

  std::vector<std::pair<std::string, std::string>> facts_;
};

std::string_view TextOf(const CallImage::Stretch& stretch) {
  const auto* const text = reinterpret_cast<const char*>(stretch.data);
  return {text, ::strnlen(text, std::min(stretch.size, kMaxText))};
}

// Describes a part of a call in words; at most kMaxValues of them.
class Describer {
 public:
  Describer(const Rules& rules, const CallImage& image, uint32_t vocabulary)
      : rules_(rules), image_(image), vocabulary_(vocabulary) {}

  std::string operator()(const WordCheck& word) const {
    return rules_.Name(vocabulary_, image_.Word(word.offset, word.width));
  }
  std::string operator()(const CharactersFact& characters) const {
    char text[CharactersFact::kMaxSize + 1] = {};
    for (size_t i = 0; i < characters.size; ++i) {
      text[i] = static_cast<char>(image_.Word(characters.offset + i, 1));
    }
    return text;
  }
  std::string operator()(const RecordsCheck& records) const {
    const CallImage::Stretch behind = image_.Behind(0, records.records.pointer);
    const size_t count = std::min<size_t>(behind.size / 8, image_.Word(records.records.count, 4));
    std::set<uint64_t> values;
    for (size_t i = 0; i < count && values.size() <= kMaxValues; ++i) {
      uint64_t record;
      std::memcpy(&record, behind.data + i * 8, 8);
      if (records.records.Has(record)) {
        values.insert(record >> records.shift & records.value_mask);
      }
    }
    std::string list;
    for (const uint64_t value : values) Append(rules_.Name(vocabulary_, value), &list);
    return list;
  }
  std::string operator()(const TextCheck& text) const {
    const CallImage::Stretch behind = image_.Behind(0, text.pointer);
    if (!text.array) return std::string(TextOf(behind));
    const size_t count = std::min<size_t>(
        {behind.size / 8, static_cast<size_t>(image_.Word(text.count, 4)), kMaxValues});
    std::string list;
    for (size_t i = 0; i < count; ++i) {
      Append(TextOf(image_.Behind(behind.buffer, behind.offset + i * 8)), &list);
    }
    return list;
  }

 private:
  static void Append(std::string_view value, std::string* list) {
    if (!list->empty()) *list += ' ';
    *list += value;
  }

  const Rules& rules_;
  const CallImage& image_;
  uint32_t vocabulary_;
};

// Adds the kernel's facts about an object: its id, its tag, its target.
void AddObjectInfo(int fd, Record* record) {
  const std::string path = "/proc/self/fdinfo/" + std::to_string(fd);
  const unique_fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  char text[2048];
  const ssize_t size = file.valid() ? ::read(file.get(), text, sizeof text) : 0;
  std::string_view rest(text, size < 0 ? 0 : static_cast<size_t>(size));
  while (!rest.empty()) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    const size_t colon = line.find(':');
    if (colon == std::string_view::npos) continue;
    const std::string_view key = line.substr(0, colon);
    // These lines are the same for every descriptor.
    if (key == "pos" || key == "flags" || key == "mnt_id" || key == "ino") continue;
    // The kernel's own lines come first. A name that a program has given may contain further ones.
    if (record->Has(key)) continue;
    const size_t value = line.find_first_not_of(" \t", colon + 1);
    record->Add(key, value == std::string_view::npos ? "" : line.substr(value));
  }
}

}  // namespace

void AuditTrail::Refused(std::string_view command, std::string_view rule, std::string_view value) {
  if (!sink_) return;
  Record record;
  record.Add("event", "refused");
  record.Add("command", command);
  record.Add("rule", rule);
  record.Add("value", value);
  const std::vector<uint8_t> encoded = record.Encode();
  sink_(encoded.data(), encoded.size());
}

void AuditTrail::Changed(std::string_view operation, std::string_view path,
                         std::string_view other) {
  if (!sink_) return;
  Record record;
  record.Add("event", "file");
  record.Add("command", operation);
  record.Add("path", path);
  if (!other.empty()) record.Add("to", other);
  const std::vector<uint8_t> encoded = record.Encode();
  sink_(encoded.data(), encoded.size());
}

void AuditTrail::Made(const Rules& rules, uint64_t operation, const CallImage& image,
                      uint32_t handle, const Handle* bound) {
  if (!sink_) return;
  const auto known = rules.reports.find(operation);
  if (known == rules.reports.end()) return;
  Record record;
  record.Add("event", known->second.event);
  record.Add("command", rules.OperationName(operation));
  for (const Fact& fact : known->second.facts) {
    const std::string value = std::visit(Describer(rules, image, fact.vocabulary), fact.where);
    if (!value.empty()) record.Add(fact.label, value);
  }
  if (bound != nullptr) {
    record.Add("handle", std::to_string(handle));
    AddObjectInfo(bound->get(), &record);
  }
  made_.push_back(record.Encode());
}

void AuditTrail::Flush() {
  for (const std::vector<uint8_t>& record : made_) sink_(record.data(), record.size());
  made_.clear();
}

}  // namespace waep
