import { WaepError } from '../errors.js';

/** The answer to a question to the guest's kernel. */
export interface Finding {
  /** The name in the kernel's interface, without its prefix. */
  readonly name: string;
  /** Whether the kernel has it; `undefined` where it could not be asked, or was not heard. */
  readonly offered: boolean | undefined;
  /** Why that is not known, where no rule of the policy refuses it. */
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
 * Asks, and tells a refusal by the guest's policy from its kernel's.
 *
 * @param question answers with a text where it cannot be known, which says why
 */
export async function ask(
  name: string,
  question: () => Promise<boolean | string>,
): Promise<Finding> {
  try {
    const answer = await question();
    return typeof answer === 'string'
      ? { name, offered: undefined, why: answer, refusedBy: undefined }
      : { name, offered: answer, refusedBy: undefined };
  } catch (error) {
    const refusedBy = refusingRule(error);
    if (refusedBy !== undefined) return { name, offered: undefined, refusedBy };
    throw error;
  }
}
