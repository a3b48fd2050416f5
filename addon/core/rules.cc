// SPDX-License-Identifier: MIT
#include "rules.h"

#include <algorithm>
#include <string_view>

namespace waep {
namespace {

constexpr uint64_t kMaxOffset = 4092;

bool ReadOffset(cbor::Reader* reader, uint32_t* offset) {
  uint64_t value = 0;
  if (!reader->ReadUint(kMaxOffset, &value)) return false;
  *offset = static_cast<uint32_t>(value);
  return true;
}

bool ReadRanges(cbor::Reader* reader, Ranges* ranges) {
  uint64_t count = 0;
  if (!reader->ReadArray(&count) || count % 2 != 0) return false;
  ranges->ranges.resize(count / 2);
  for (Ranges::Range& range : ranges->ranges) {
    if (!reader->ReadUint(&range.first) || !reader->ReadUint(&range.last)) return false;
  }
  return true;
}

bool ReadValues(cbor::Reader* reader, Values* values) {
  return reader->ReadArrayOf(2) && reader->ReadBool(&values->origins) &&
         ReadRanges(reader, &values->ranges);
}

bool ReadTexts(cbor::Reader* reader, std::vector<std::string>* texts) {
  uint64_t count = 0;
  if (!reader->ReadArray(&count)) return false;
  texts->resize(count);
  for (std::string& text : *texts) {
    std::string_view view;
    if (!reader->ReadText(&view)) return false;
    text = view;
  }
  return true;
}

bool ReadWord(cbor::Reader* reader, WordCheck* check) {
  uint64_t width = 0;
  if (!ReadOffset(reader, &check->offset) || !reader->ReadUint(8, &width)) return false;
  check->width = static_cast<uint32_t>(width);
  return ReadValues(reader, &check->values);
}

bool ReadRecords(cbor::Reader* reader, RecordsCheck* check) {
  uint64_t shift = 0;
  if (!ReadOffset(reader, &check->pointer) || !ReadOffset(reader, &check->count) ||
      !reader->ReadUint(&check->mask) || !reader->ReadUint(&check->pattern) ||
      !reader->ReadUint(63, &shift) || !reader->ReadUint(&check->value_mask)) {
    return false;
  }
  check->shift = static_cast<uint32_t>(shift);
  return ReadValues(reader, &check->values);
}

bool ReadText(cbor::Reader* reader, bool array, TextCheck* check) {
  check->array = array;
  return ReadOffset(reader, &check->pointer) && (!array || ReadOffset(reader, &check->count)) &&
         reader->ReadBool(&check->paths) && ReadTexts(reader, &check->patterns);
}

bool ReadQuota(cbor::Reader* reader, QuotaCheck* check) {
  uint64_t counter = 0;
  uint64_t terms = 0;
  if (!reader->ReadUint(Rules::kMaxCounters - 1, &counter) || !reader->ReadUint(&check->maximum) ||
      !reader->ReadUint(&check->constant) || !reader->ReadArray(&terms)) {
    return false;
  }
  check->counter = static_cast<uint32_t>(counter);
  check->terms.resize(terms);
  for (QuotaCheck::Term& term : check->terms) {
    if (!reader->ReadArrayOf(3) || !ReadOffset(reader, &term.offset) ||
        !reader->ReadUint(UINT32_MAX, &term.round) ||
        !reader->ReadUint(UINT32_MAX, &term.multiplier) || term.round == 0) {
      return false;
    }
  }
  bool factor = false;
  return reader->ReadBool(&factor) ? !factor : ReadOffset(reader, &check->factor);
}

enum Kind : uint64_t { kWord, kWords, kRecords, kText, kTexts, kQuota, kCharacters };

bool ReadFact(cbor::Reader* reader, Fact* fact) {
  uint64_t items = 0;
  uint64_t vocabulary = 0;
  uint64_t kind = 0;
  std::string_view label;
  if (!reader->ReadArray(&items) || !reader->ReadText(&label) ||
      !reader->ReadUint(UINT32_MAX, &vocabulary) || !reader->ReadUint(&kind)) {
    return false;
  }
  fact->label = label;
  fact->vocabulary = static_cast<uint32_t>(vocabulary);
  switch (kind) {
    case kWord:
      return items == 6 && ReadWord(reader, &fact->where.emplace<WordCheck>());
    case kRecords:
      return items == 10 && ReadRecords(reader, &fact->where.emplace<RecordsCheck>());
    case kText:
    case kTexts:
      return items == (kind == kTexts ? 7u : 6u) &&
             ReadText(reader, kind == kTexts, &fact->where.emplace<TextCheck>());
    case kCharacters: {
      auto& characters = fact->where.emplace<CharactersFact>();
      uint64_t size = 0;
      if (items != 5 || !ReadOffset(reader, &characters.offset) ||
          !reader->ReadUint(CharactersFact::kMaxSize, &size)) {
        return false;
      }
      characters.size = static_cast<uint32_t>(size);
      return true;
    }
    default:
      return false;
  }
}

bool ReadReport(cbor::Reader* reader, uint64_t* operation, Report* report) {
  uint64_t facts = 0;
  std::string_view event;
  if (!reader->ReadArrayOf(3) || !reader->ReadUint(operation) || !reader->ReadText(&event) ||
      !reader->ReadArray(&facts)) {
    return false;
  }
  report->event = event;
  report->facts.resize(facts);
  for (Fact& fact : report->facts) {
    if (!ReadFact(reader, &fact)) return false;
  }
  return true;
}

bool ReadCheck(cbor::Reader* reader, uint64_t* operation, Check* check) {
  uint64_t items = 0;
  uint64_t conditions = 0;
  uint64_t vocabulary = 0;
  uint64_t kind = 0;
  std::string_view rule;
  if (!reader->ReadArray(&items) || !reader->ReadText(&rule) || !reader->ReadUint(operation) ||
      !reader->ReadArray(&conditions)) {
    return false;
  }
  check->rule = rule;
  check->when.resize(conditions);
  for (Check::Condition& condition : check->when) {
    if (!reader->ReadArrayOf(2) || !ReadOffset(reader, &condition.offset) ||
        !ReadRanges(reader, &condition.values)) {
      return false;
    }
  }
  if (!reader->ReadUint(UINT32_MAX, &vocabulary) || !reader->ReadUint(&kind)) return false;
  check->vocabulary = static_cast<uint32_t>(vocabulary);
  constexpr uint64_t kItems[] = {3, 2, 7, 3, 4, 5};
  if (kind > kQuota || items != 5 + kItems[kind]) return false;
  switch (kind) {
    case kWord:
      return ReadWord(reader, &check->what.emplace<WordCheck>());
    case kWords: {
      auto& words = check->what.emplace<WordsCheck>();
      return ReadOffset(reader, &words.pointer) && ReadValues(reader, &words.values);
    }
    case kRecords:
      return ReadRecords(reader, &check->what.emplace<RecordsCheck>());
    case kText:
    case kTexts:
      return ReadText(reader, kind == kTexts, &check->what.emplace<TextCheck>());
    default:
      return ReadQuota(reader, &check->what.emplace<QuotaCheck>());
  }
}

bool MatchesGlob(std::string_view text, std::string_view pattern) {
  size_t at = 0;
  size_t in = 0;
  size_t star = std::string_view::npos;  // the last * seen, and where the text stood then
  size_t resume = 0;
  while (at < text.size()) {
    if (in < pattern.size() && pattern[in] == '*') {
      star = in++;
      resume = at;
    } else if (in < pattern.size() && (pattern[in] == '?' || pattern[in] == text[at])) {
      ++in;
      ++at;
    } else if (star != std::string_view::npos) {
      in = star + 1;
      at = ++resume;
    } else {
      return false;
    }
  }
  while (in < pattern.size() && pattern[in] == '*') ++in;
  return in == pattern.size();
}

}  // namespace

bool MatchesPath(std::string_view path, const std::vector<std::string>& allowed) {
  // A rule is about the name it is written for, so a path may not climb out of it.
  if (path.empty() || path.front() != '/' || path.find('\0') != std::string_view::npos ||
      path.find("/../") != std::string_view::npos ||
      (path.size() >= 3 && path.substr(path.size() - 3) == "/..")) {
    return false;
  }
  for (const std::string& one : allowed) {
    const bool is_folder = !one.empty() && one.back() == '/';
    if (is_folder ? path.substr(0, one.size()) == one : path == one) return true;
  }
  return false;
}

const IoctlRule* Rules::FindIoctl(uint32_t request) const {
  const auto found = std::find_if(ioctls.begin(), ioctls.end(),
                                  [=](const IoctlRule& rule) { return rule.request == request; });
  return found == ioctls.end() ? nullptr : &*found;
}

bool MatchesGlobs(std::string_view text, const std::vector<std::string>& patterns) {
  bool matches = false;
  for (const std::string_view pattern : patterns) {
    if (pattern.empty() || pattern.front() != '!') {
      matches = matches || MatchesGlob(text, pattern);
    } else if (MatchesGlob(text, pattern.substr(1))) {
      return false;
    }
  }
  return matches;
}

bool Rules::AllowsPath(std::string_view path) const { return MatchesPath(path, readable_paths); }

std::string Rules::Name(uint32_t vocabulary, uint64_t value) const {
  const std::string number = std::to_string(value);
  if (vocabulary == 0 || vocabulary > vocabularies.size()) return number;
  const std::vector<std::string>& names = vocabularies[vocabulary - 1];
  if (value >= names.size() || names[value].empty()) return number;
  return names[value] + " (" + number + ")";
}

std::string Rules::OperationName(uint64_t operation) const {
  if (operation < kPerfOpen) return Name(1, operation);
  if (operation == kPerfOpen) return "perf_event_open";
  const IoctlRule* const rule = FindIoctl(static_cast<uint32_t>(operation - kIoctls));
  return rule == nullptr ? "ioctl" : rule->name;
}

bool Rules::Decode(cbor::Reader* reader, Rules* rules) {
  uint64_t count = 0;
  if (!reader->ReadArrayOf(11) || !reader->ReadUint(&rules->commands) ||
      !reader->ReadBool(&rules->other_commands) || !reader->ReadBool(&rules->perf_events) ||
      !reader->ReadArray(&count)) {
    return false;
  }
  rules->vocabularies.resize(count);
  for (auto& names : rules->vocabularies) {
    if (!ReadTexts(reader, &names)) return false;
  }
  if (!reader->ReadArray(&count)) return false;
  for (uint64_t i = 0; i < count; ++i) {
    uint64_t operation = 0;
    Check check;
    if (!ReadCheck(reader, &operation, &check)) return false;
    rules->checks[operation].push_back(std::move(check));
  }
  if (!reader->ReadArray(&count)) return false;
  for (uint64_t i = 0; i < count; ++i) {
    uint64_t operation = 0;
    Report report;
    if (!ReadReport(reader, &operation, &report)) return false;
    rules->reports[operation] = std::move(report);
  }
  if (!ReadRanges(reader, &rules->keeping) || !ReadRanges(reader, &rules->opaque) ||
      !ReadTexts(reader, &rules->readable_paths)) {
    return false;
  }
  if (!reader->ReadArray(&count)) return false;
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
  return reader->ReadArrayOf(7) && reader->ReadUint(1u << 30, &limits.max_frame_bytes) &&
         reader->ReadUint(1u << 30, &limits.max_call_bytes) &&
         reader->ReadUint(1u << 16, &limits.max_buffers) &&
         reader->ReadUint(1u << 24, &limits.max_relocations) &&
         reader->ReadUint(1u << 20, &limits.max_handles) &&
         reader->ReadUint(1u << 10, &limits.max_streams) &&
         reader->ReadUint(1u << 30, &limits.max_events_per_second);
}

}  // namespace waep
