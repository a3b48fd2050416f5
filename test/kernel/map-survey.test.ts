import t from 'tap';
import { enums, mapKind } from '../../src/bpf/index.js';
import type { Handle } from '../../src/call.js';
import { errnoNumber } from '../../src/errno.js';
import { BpfCalls } from '../../src/kernel/bpf-calls.js';
import type { GuestKernel } from '../../src/kernel/guest-kernel.js';
import { surveyMaps } from '../../src/kernel/map-survey.js';

const { MapType, ObjectFlag } = enums;
const PAGE = 4096;

/** The fields of MAP_CREATE that the kernels of this test look at. */
interface Asked {
  readonly map_type: number;
  readonly max_entries: number;
  readonly map_flags: number;
  readonly map_extra?: number;
  readonly btf_vmlinux_value_type_id?: number;
}

type Answers = (asked: Asked) => string | undefined;

/** A kernel that answers MAP_CREATE with the name of an errno, or makes the map. */
function kernelThat(answers: Answers, btf = true) {
  let handles = 0;
  const open = new Set<Handle>();
  const made = () => {
    open.add(++handles);
    return handles;
  };
  const kernel = {
    kernel: { pageSize: PAGE, possibleCpus: 1, btf },
    bpf: async () => ({ handle: made(), result: 0 }),
    tryBpf: async (_: object, asked: Asked) => {
      const errno = answers(asked);
      return errno === undefined
        ? { result: 0, errno: 0, handle: made() }
        : { result: -1, errno: errnoNumber(errno) ?? 0, handle: 0 };
    },
    release: async (handles: readonly Handle[]) => {
      for (const handle of handles) open.delete(handle);
    },
  };
  const caller = kernel as unknown as GuestKernel;
  return { open, session: Object.assign(caller, { calls: new BpfCalls(caller) }) };
}

/** A kernel that has every type, and refuses wrong requests as Linux does. */
const has: Answers = ({ map_type, max_entries, map_flags, map_extra = 0, ...asked }) => {
  if ((mapKind(map_type)?.flags ?? 0) & ~map_flags) return 'EINVAL';
  if (map_type === MapType.BPF_MAP_TYPE_ARENA) {
    if ((map_flags & ObjectFlag.BPF_F_MMAPABLE) === 0 || map_extra % PAGE !== 0) return 'EINVAL';
    const last = map_extra + max_entries * PAGE - 1;
    return last >= 2 ** 32 && map_extra < 2 ** 32 ? 'ERANGE' : undefined;
  }
  if (map_type !== MapType.BPF_MAP_TYPE_STRUCT_OPS) return undefined;
  return (asked.btf_vmlinux_value_type_id ?? 0) === 0 ? 'EINVAL' : 'ENOTSUPP';
};

async function findings(answers: Answers, btf?: boolean) {
  const { open, session } = kernelThat(answers, btf);
  const found = await surveyMaps(session);
  return { open, of: (name: string) => found.find((one) => one.name === name), found };
}

t.test('a kernel with every type is asked of each what the type demands', async (t) => {
  const { found, open } = await findings(has);
  t.same(
    found.filter(({ offered, why }) => offered !== true || why !== undefined),
    [],
  );
  t.equal(found.length, Object.keys(MapType).length - 1);
  t.equal(open.size, 0, 'nothing stays open');
});

t.test('a kernel that lacks a type is told from one that has no memory for it', async (t) => {
  const { BPF_MAP_TYPE_ARENA: arena, BPF_MAP_TYPE_RHASH: rhash } = MapType;
  const noMemory = await findings((asked) => {
    const answer = has(asked);
    return asked.map_type === arena || asked.map_type === rhash ? (answer ?? 'ENOMEM') : answer;
  });
  const arenas = { offered: true, why: 'making one ends with ENOMEM' };
  t.match(noMemory.of('arena'), arenas, 'another request shows that the kernel has arenas');
  t.match(noMemory.of('rhash'), { offered: undefined, why: 'asking ends with ENOMEM' });
  const lacking = await findings((asked) =>
    asked.map_type === arena || asked.map_type === rhash ? 'EINVAL' : has(asked),
  );
  for (const name of ['arena', 'rhash']) t.match(lacking.of(name), { offered: false });
});

t.test(
  'without types of its own, a kernel has no structures that programs implement',
  async (t) => {
    t.match((await findings(has, false)).of('struct_ops'), { offered: false });
    const lacks: Answers = (asked) =>
      asked.map_type === MapType.BPF_MAP_TYPE_STRUCT_OPS ? 'EINVAL' : has(asked);
    t.match((await findings(lacks)).of('struct_ops'), { offered: false });
  },
);
