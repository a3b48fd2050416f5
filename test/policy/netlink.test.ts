import t, { type Test } from 'tap';
import { netlink } from '../../src/bpf/index.js';
import { Relocation } from '../../src/call.js';
import type { WaepError } from '../../src/errors.js';
import {
  FrameType,
  HEADER_BYTES,
  messageFrame,
  parseError,
  parseHeader,
} from '../../src/frame/index.js';
import { native } from '../../src/native.js';
import { compile, encodeRules, profiles } from '../../src/policy/index.js';
import type { Policy } from '../../src/policy/policy.js';

/* The checker that agents use judges the messages, over a kernel that has none of the calls. */

const { leastNetlinkMessage, netlinkKinds, netlinkMessages } = netlink;
const names = {
  possibleCpus: 1,
  functions: () => [],
  hooks: () => [],
  tracepoints: () => [],
  probes: () => [],
  perfType: () => undefined,
};
/** For the checker, an interface's name is its index behind a slash. */
const INDEX = 7;
const INTERFACE = '/7';

function judge(t: Test, policy: Partial<Policy>) {
  const rules = encodeRules(compile({ ...profiles.full, ...policy }, names));
  const executor = new native.Executor(rules, true);
  t.teardown(() => executor.close());
  /** Returns what refuses a message, or an empty text. */
  return (protocol: number, message: Uint8Array, options = 0, relocations: number[] = []) => {
    const body = [protocol, options, [message], relocations];
    const answer = executor.execute(messageFrame(FrameType.NETLINK, 1, body));
    if (parseHeader(answer).type !== FrameType.ERROR) return '';
    const { code, detail } = parseError(answer.subarray(HEADER_BYTES)) as WaepError;
    const { rule, value } = detail as { rule?: string; value?: string };
    return code === 'ERR_POLICY_REFUSED' ? `${rule}: ${value}` : code;
  };
}
type Judge = ReturnType<typeof judge>;

const named = (name: string, kind: string) => {
  const known = netlinkMessages.find((one) => one.name === name && one.kind === kind);
  if (known === undefined) throw new Error(`${name} is not known`);
  return known;
};
const setLink = leastNetlinkMessage(named('RTM_SETLINK', 'attach_xdp'), INDEX);
const newFilter = leastNetlinkMessage(named('RTM_NEWTFILTER', 'attach_tc'), INDEX);
const delFilter = leastNetlinkMessage(named('RTM_DELTFILTER', 'attach_tc'), INDEX);
const newQdisc = leastNetlinkMessage(named('RTM_NEWQDISC', 'attach_tc'), INDEX);

/** Returns a message with more at its end. */
function longer(message: Buffer, ...words: number[]): Buffer {
  const more = Buffer.concat([message, Buffer.from(Uint32Array.from(words).buffer)]);
  more.writeUInt32LE(more.length, 0);
  return more;
}

function changed(message: Buffer, offset: number, value: number): Buffer {
  const copy = Buffer.from(message);
  copy.writeUInt32LE(value, offset);
  return copy;
}

t.test('each message is allowed by its kind, and those without one never', async (t) => {
  const seen = new Set<string>();
  for (const kind of netlinkKinds) {
    const ask = judge(t, { netlink: [kind] });
    for (const known of netlinkMessages) {
      const refused = ask(known.protocol, leastNetlinkMessage(known, INDEX));
      const first = netlink.netlinkMessage(known.protocol, leastNetlinkMessage(known, INDEX));
      if (first !== known) continue;
      // Here no kernel tells the number of its family.
      if (known.generic !== undefined) {
        t.equal(refused, 'netlink: the message 0', known.name);
        continue;
      }
      t.equal(refused, known.kind === kind ? '' : `netlink: ${known.name}`, known.name);
      seen.add(known.name);
    }
  }
  t.ok(seen.has('RTM_GETLINK') && seen.has('SOCK_DESTROY') && seen.has('RTM_NEWROUTE'));
  const none = judge(t, { netlink: [] });
  t.match(none(0, leastNetlinkMessage(named('RTM_GETLINK', 'read_network'))), /^netlink: /);
  for (const protocol of [0, 16]) {
    t.equal(
      judge(t, {})(protocol, leastNetlinkMessage({ name: '', protocol, type: 999 })),
      'netlink: the message 999',
    );
  }
});

t.test('what changes an interface is bounded by the interface and to own objects', async (t) => {
  for (const message of [setLink, newFilter, delFilter, newQdisc]) {
    t.equal(judge(t, { interfaces: [INTERFACE] })(0, message), '');
    t.equal(judge(t, { interfaces: ['/8'] })(0, message), `interfaces: ${INTERFACE} (${INDEX})`);
    t.match(judge(t, { foreign_objects: 'inspect' })(0, message), /^foreign_objects: /);
  }
});

t.test('a message that says more than is known is refused', async (t) => {
  const ask = judge(t, {});
  const cases: [Buffer, string | RegExp][] = [
    [longer(setLink, 8 | (28 << 16), 3), 'netlink: the attribute 28'],
    [longer(setLink, 8 | (43 << 16), 8 | (28 << 16)), 'netlink: the attribute 43 twice'],
    [longer(setLink, 0), 'netlink: an attribute of 0 bytes, with 4 left'],
    [longer(setLink, 9 | (43 << 16)), 'netlink: an attribute of 9 bytes, with 4 left'],
    [changed(setLink, 16, 7 << 16), 'netlink: 458752'],
    [changed(setLink, 24, 1), 'netlink: 1'],
    [changed(setLink, 28, 1), 'netlink: 1'],
    [changed(newQdisc, 28, 0xffff_ffff), 'netlink: 4294967295'],
    [changed(delFilter, 28, 0x0001_0000), 'netlink: 65536'],
    [changed(delFilter, 28, 0xffff_ffff), 'netlink: 4294967295'],
    [longer(delFilter, 8 | (1 << 16), 0x0032_3375), 'netlink: u32'],
    [changed(newFilter, 36 + 4, 0x0032_3375), 'netlink: u32'],
    [longer(newFilter, 12 | (2 << 16), 8 | (6 << 16), 77), /^descriptors: the number 77,/],
    [longer(newFilter, 12 | (2 << 16), 8 | (1 << 16), 0), 'netlink: the attribute 1'],
    [longer(newFilter, 12 | (2 << 16), 6 | (6 << 16), 0), 'netlink: the attribute 6 of 2 bytes'],
    [setLink.subarray(0, 20), 'ERR_CALL_MALFORMED'],
    [Buffer.concat([setLink, setLink]), 'ERR_CALL_MALFORMED'],
    [setLink.subarray(0, 8), 'ERR_CALL_MALFORMED'],
  ];
  for (const [message, refused] of cases) t.match(ask(0, message), refused);
  t.equal(ask(0, longer(newFilter, 12 | (2 << 16), 8 | (6 << 16), 0xffff_ffff)), '');
  for (const parent of [0xffff_0000, 0xffff_fff2, 0xffff_fff3]) {
    t.equal(ask(0, changed(delFilter, 28, parent)), '', 'all filters of a hook');
  }
  t.equal(ask(0, setLink, 8), 'ERR_CALL_MALFORMED', 'an unknown option');
  t.equal(ask(32, setLink), 'ERR_CALL_MALFORMED', 'a protocol that no kernel has');
  t.equal(ask(0, setLink, 0, [0, 20, 1, 5]), 'ERR_HANDLE_UNKNOWN');
  // Such a number would be the length, or choose another message, after the rules have seen it.
  for (let offset = 0; offset < 20; offset++) {
    t.equal(ask(0, setLink, 0, [0, offset, 1, 5]), 'ERR_CALL_MALFORMED', `offset ${offset}`);
  }
  const others = Object.values(Relocation).filter((kind) => kind !== Relocation.FD32);
  for (const kind of others) {
    t.equal(ask(0, setLink, 0, [0, 24, kind, 0]), 'ERR_CALL_MALFORMED', `kind ${kind}`);
  }
});

t.test('a message that is cut short anywhere reaches no further than its kind', async (t) => {
  const ask: Judge = judge(t, {});
  for (const message of [longer(newFilter, 12 | (2 << 16), 8 | (7 << 16), 0), setLink]) {
    for (let length = 16; length < message.length; length++) {
      const cut = Buffer.from(message.subarray(0, length));
      cut.writeUInt32LE(length, 0);
      const refused = ask(0, cut);
      const whole = message !== setLink && length === newFilter.length;
      t.equal(refused === '', whole, `${length} bytes: ${refused}`);
    }
  }
});
