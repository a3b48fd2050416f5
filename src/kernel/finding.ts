import { errnoName } from '../errno.js';
import { WaepError } from '../errors.js';

/** The answer to a question to the guest's kernel. */
export interface Finding {
  /** The name in the kernel's interface, without its prefix. */
  readonly name: string;
  /** Whether the kernel has it; `undefined` where it could not be asked, or was not heard. */
  readonly offered: boolean | undefined;
  /**
   * Why that is not known, where no rule of the policy refuses it. Of a type of maps that the kernel
   * has: why it does not make a map of the type now.
   */
  readonly why?: string;
  /** The policy's rule that refuses it. */
  readonly refusedBy: string | undefined;
}

/** The policy's rule that an error names, or `undefined` for any other error. */
export function refusingRule(error: unknown): string | undefined {
  const refused = error instanceof WaepError && error.code === 'ERR_POLICY_REFUSED';
  return refused ? (error.detail as { rule: string }).rule : undefined;
}

/**
 * What a question found: whether the kernel has it, or a text that says why that is not known, or
 * both.
 */
export type Answer = boolean | string | Pick<Finding, 'offered' | 'why'>;

/** Asks, and tells a refusal by the guest's policy from its kernel's. */
export async function ask(name: string, question: () => Promise<Answer>): Promise<Finding> {
  try {
    const answer = await question();
    if (typeof answer === 'object') return { name, ...answer, refusedBy: undefined };
    return typeof answer === 'string'
      ? { name, offered: undefined, why: answer, refusedBy: undefined }
      : { name, offered: answer, refusedBy: undefined };
  } catch (error) {
    const refusedBy = refusingRule(error);
    if (refusedBy !== undefined) return { name, offered: undefined, refusedBy };
    throw error;
  }
}

/** How many questions are on their way at a time. */
const DEPTH = 32;

/** Asks about many things at a time. */
export async function inParallel<T, R>(
  items: readonly T[],
  ask: (item: T) => Promise<R>,
): Promise<R[]> {
  const answers: R[] = [];
  for (let at = 0; at < items.length; at += DEPTH) {
    answers.push(...(await Promise.all(items.slice(at, at + DEPTH).map(ask))));
  }
  return answers;
}

/** The errors of a kernel that does not have a type, or was built without it. */
const NOT_HAD: ReadonlySet<string> = new Set(['EINVAL', 'E2BIG', 'ENOTSUPP', 'EOPNOTSUPP']);

/** `false` where an errno says that there is no such type, else why that is not known. */
export function lacking(errno: number): false | string {
  const name = errnoName(errno);
  return NOT_HAD.has(name) ? false : `asking ends with ${name}`;
}
