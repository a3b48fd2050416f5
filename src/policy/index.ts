/**
 * Policies: what a guest's owner lets hosts do, and the rules that a policy is compiled to.
 *
 * @module
 */
export { compile, globMatcher, type KernelNames, type ProbePlace } from './compile.js';
export {
  capabilities,
  confinementOf,
} from './confinement.js';
export { describePolicy } from './describe.js';
export {
  explain,
  explainObject,
  type Question,
  questionNames,
  type Verdict,
} from './explain.js';
export { type PolicyFile, parsePolicy, readPolicyFile } from './file.js';
export { readObject } from './object.js';
export type { Acceptance, Policy } from './policy.js';
export { profiles } from './profiles.js';
export { type Check, encodeRules } from './rules.js';
export { nameOf } from './vocabulary.js';
export { warningsOf } from './warnings.js';
