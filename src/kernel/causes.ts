/*
 * What an errno means for a command, where its name alone does not say.
 *
 * Kernel source: the operations of the map types, and kernel/bpf/syscall.c.
 */
import { errnoName } from '../errno.js';

const unsupported = 'this type of map, or this kernel, does not have the operation';
const frozen = 'it is frozen, or was opened for reading only';
const gone = 'there is no such object any more';
const badPath = 'the path must be in a mounted bpf file system';

const causes: { readonly [command: string]: { readonly [code: string]: string } } = {
  BPF_MAP_CREATE: {
    EINVAL: 'the type does not take these sizes, entries or flags, or this kernel lacks the type',
    E2BIG: 'keys or values are too large for the type, or there are too many entries',
  },
  BPF_MAP_LOOKUP_ELEM: { ENOTSUPP: unsupported, EOPNOTSUPP: unsupported },
  BPF_MAP_UPDATE_ELEM: {
    E2BIG: 'it is full, or the index is beyond its end',
    EEXIST: 'the key is there already',
    ENOENT: 'the key is not there',
    EPERM: frozen,
    ENOTSUPP: unsupported,
  },
  BPF_MAP_DELETE_ELEM: {
    EINVAL: 'elements of this type of map cannot be deleted',
    EPERM: frozen,
  },
  BPF_MAP_FREEZE: { EBUSY: 'it is frozen already, or mapped for writing' },
  BPF_MAP_LOOKUP_AND_DELETE_ELEM: { ENOTSUPP: unsupported, EOPNOTSUPP: unsupported, EPERM: frozen },
  BPF_MAP_UPDATE_BATCH: { EPERM: frozen, E2BIG: 'it is full, or an index is beyond its end' },
  BPF_RAW_TRACEPOINT_OPEN: {
    ENOENT: 'the guest has no tracepoint of this name',
    EINVAL: 'the program is of another type, or wants more arguments than the tracepoint has',
  },
  BPF_LINK_CREATE: {
    EBUSY: 'something is attached there already',
    EINVAL: 'the program was not loaded for this kind of attachment, or this kernel lacks it',
  },
  BPF_LINK_UPDATE: { EPERM: 'the program attached is not the one that was to be replaced' },
  BPF_LINK_DETACH: { EOPNOTSUPP: 'links of this type end only when they are closed' },
  BPF_OBJ_PIN: { EPERM: badPath, EINVAL: badPath, EEXIST: 'something is there already' },
  BPF_OBJ_GET: { ENOENT: 'nothing is pinned there', EACCES: badPath },
  BPF_PROG_GET_FD_BY_ID: { ENOENT: gone },
  BPF_MAP_GET_FD_BY_ID: { ENOENT: gone },
  BPF_LINK_GET_FD_BY_ID: { ENOENT: gone },
  BPF_BTF_GET_FD_BY_ID: { ENOENT: gone },
  BPF_PROG_TEST_RUN: {
    ENOTSUPP: 'programs of this type cannot be run on request',
    EOPNOTSUPP: 'programs of this type cannot be run on request',
  },
};

/** Says what a positive errno means for a command, or nothing where its name says enough. */
export function causeOf(command: string, errno: number): string | undefined {
  return causes[command]?.[errnoName(errno)];
}
