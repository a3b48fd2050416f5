/**
 * Files that are changed, by folder of src/, and the tests that should notice. Mutants that these do
 * not notice are left to slower ones. No test needs a guest.
 *
 * The tables of commands, records and numbers in src/bpf are in no group: test/abi compares them with
 * the kernel's own.
 *
 * @type {Record<string, { files: string[], tests: string[], slower?: string[] }[]>}
 */
export const groups = {
  frame: [
    {
      files: ['call', 'events', 'header', 'items', 'messages', 'requests', 'stream'],
      tests: ['test/frame/{call,events,header,messages,stream}'],
    },
  ],
  policy: [
    { files: ['file'], tests: ['test/policy/{file,values}'] },
    {
      files: ['confinement'],
      tests: ['test/policy/confinement'],
      slower: ['test/agent/confinement'],
    },
    { files: ['object'], tests: ['test/policy/object'] },
    { files: ['describe', 'warnings', 'vocabulary'], tests: ['test/policy/describe'] },
    {
      files: ['compile', 'ioctls'],
      tests: ['test/policy/compile'],
      slower: ['test/policy/rules'],
    },
    {
      files: ['descriptors', 'reports', 'rules'],
      tests: ['test/policy/{compile,compiled,values}'],
      slower: ['test/policy/rules', 'test/agent/audit'],
    },
    {
      files: ['places', 'profiles'],
      tests: ['test/policy/{compile,compiled,places,profiles,values}'],
    },
    { files: ['explain'], tests: ['test/policy/explain'] },
    { files: ['netlink'], tests: ['test/policy/{netlink,compiled}'] },
  ],
  bpf: [
    { files: ['netlink'], tests: ['test/bpf/netlink', 'test/policy/{netlink,compiled}'] },
    { files: ['insn'], tests: ['test/bpf/{assembler,instructions}'] },
    {
      files: ['known-maps', 'little-endian', 'map-kinds', 'perf', 'specs'],
      tests: ['test/bpf/facts'],
    },
    ...[
      ['encode'],
      ['encoding', 'fields'],
      ['compile', 'table', 'types'],
      ['rows'],
      ['fds', 'memory'],
    ].map((files) => ({
      files,
      tests: [
        'test/bpf/{decode,encode,instructions,memory,refusals,rows,table,types}',
        'test/policy/compiled',
      ],
      slower: ['test/bpf/kernel-{maps,programs,objects,links,attach}'],
    })),
  ],
};
