/* Guards to remove from addon/core, to check that a target notices what they guard against. */

/** A source file with replaced code. */
export interface Mutant {
  /** Completes the sentence "It has no guard against …". */
  readonly against: string;
  /** The file of addon/core. */
  readonly file: string;
  /** Replacements. Each `from` is in the file exactly once. */
  readonly changes: readonly (readonly [from: string, to: string])[];
}

/** Guards of the rules, and guards that keep the kernel to the bytes that rules see. */
export const policyMutants: readonly Mutant[] = [
  {
    against: 'a pointer to the end of an argument',
    file: 'executor.cc',
    changes: [
      [
        'if (relocation.target < arguments) return refuse(',
        'if (false && relocation.target < arguments) return refuse(',
      ],
      [
        'const bool may_share = relocation.buffer >= arguments &&',
        'const bool may_share = relocation.buffer < UINT32_MAX &&',
      ],
    ],
  },
  {
    against: 'two pointers to one buffer',
    file: 'executor.cc',
    changes: [['if (again && !may_share) return refuse(', 'if (false) return refuse(']],
  },
  {
    against: 'what the last call left behind an argument',
    file: 'call_memory.cc',
    changes: [['std::memset(memory, 0, block);', 'std::memset(memory, 0, size);']],
  },
  {
    against: 'an index before an array',
    file: 'rule_checker.cc',
    changes: [['if (index < 0 || ', 'if (index < 0) continue;\n    if (']],
  },
  {
    against: 'an index beyond an array',
    file: 'rule_checker.cc',
    changes: [
      [
        'if (index < 0 || static_cast<uint64_t>(index) >= (array.size + CallImage::kGuardBytes) / 4) {',
        'if (index < 0) {',
      ],
    ],
  },
  {
    against: 'what a later call of a chain may not do',
    file: 'executor.cc',
    changes: [
      [
        '|| !CheckRules(number)) return false;',
        '|| (chained_ < 2 && !CheckRules(number))) return false;',
      ],
    ],
  },
  {
    against: 'flags of a command that are not known',
    file: 'executor.cc',
    changes: [['if (unknown != 0) {', 'if (false) {']],
  },
  {
    against: 'bytes of a second argument that are not known',
    file: 'executor.cc',
    changes: [['if (offset == second.size) return true;', 'return true;']],
  },
  {
    against: 'numbers in the place of handles',
    file: 'rule_checker.cc',
    changes: [
      [
        'if (presence.kind != Presence::kPerhaps) return RefuseNumber(number);',
        'if (presence.kind != Presence::kPerhaps) return true;',
      ],
    ],
  },
  {
    against: 'the use of objects of others',
    file: 'rule_checker.cc',
    changes: [
      [
        'if (objects.refused.Contains(handle.origin)) return RefuseObject(handle, objects.use);',
        '',
      ],
    ],
  },
  {
    against: 'objects of others without a handle',
    file: 'executor.cc',
    changes: [['if (result_handle == 0 && rules_.foreign.Contains(number)) {', 'if (false) {']],
  },
  {
    against: 'bytes of an event that its size leaves out',
    file: 'executor.cc',
    changes: [['if (taken >= PERF_ATTR_SIZE_VER0 && ', 'if (false && ']],
  },
  {
    against: 'a text without an end',
    file: 'rule_checker.cc',
    changes: [['      ends && (what.paths ?', '      (ends || true) && (what.paths ?']],
  },
];
