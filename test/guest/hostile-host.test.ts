/* A host that makes calls by hand: what it does to others of the guest. */
import t from 'tap';
import { testAttacks } from '../hostile/suite.js';

testAttacks(t, 'the configured suites', {});
