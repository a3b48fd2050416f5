/**
 * Policies: what a guest's owner lets hosts do, and the rules that a policy is compiled to.
 *
 * @module
 */
export { compile, globMatcher, type KernelNames, type ProbePlace } from './compile.js';
export {
  type Capability,
  capabilities,
  confinementOf,
  encodeConfinement,
} from './confinement.js';
export { describePolicy, type RuleText } from './describe.js';
export {
  explain,
  explainObject,
  type Question,
  questionNames,
  type Verdict,
} from './explain.js';
export { type Place, type PolicyFile, parsePolicy, readPolicyFile } from './file.js';
export { type ObjectProgram, readObject } from './object.js';
export type { Acceptance, Policy, Quotas } from './policy.js';
export { profileNamed, profiles } from './profiles.js';
export { type Check, type Confinement, encodeRules, type Range, type Rules } from './rules.js';
export { nameOf, numberOf, type VocabularyName, vocabularies } from './vocabulary.js';
export { type Warning, warningsOf } from './warnings.js';
