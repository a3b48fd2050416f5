import { failure } from '../errors.js';

/** BPF_OBJ_NAME_LEN without the zero at its end. */
const MAX_NAME_BYTES = 15;

/**
 * Checks the name of a map or a program: bpf_obj_name_cpy() in kernel/bpf/syscall.c.
 *
 * @throws ERR_OPTION_INVALID
 */
export function checkName(name: unknown): void {
  if (name === undefined) return;
  const fits = typeof name === 'string' && name.length <= MAX_NAME_BYTES && /^[\w.]*$/.test(name);
  if (fits) return;
  throw failure('ERR_OPTION_INVALID', {
    option: 'name',
    value: name,
    expected: `at most ${MAX_NAME_BYTES} characters, each a letter of the alphabet, a digit, _ or .`,
  });
}
