import t from 'tap';
import { netlink } from '../../src/bpf/index.js';
import { hex, toHex } from './tools.js';

/* What is known of the messages of netlink(7), without a kernel and without a policy. */

const { leastNetlinkMessage, netlinkDescriptors, netlinkMessage, netlinkMessages } = netlink;
const ROUTE = 0;
const SOCK_DIAG = 4;

const named = (name: string, kind?: string) => {
  const known = netlinkMessages.find(
    (one) => one.name === name && (kind === undefined || one.kind === kind),
  );
  if (known === undefined) throw new Error(`${name} is not known`);
  return known;
};

/** A header and the bytes behind it. Only its type counts here. */
function message(type: number, behind = ''): Buffer {
  const bytes = Buffer.concat([Buffer.alloc(16), hex(behind)]);
  bytes.writeUInt32LE(bytes.length, 0);
  bytes.writeUInt16LE(type, 4);
  return bytes;
}

t.test('messages of routing have the numbers of linux/rtnetlink.h', async (t) => {
  const numbers = {
    ...{ RTM_NEWLINK: 16, RTM_GETLINK: 18, RTM_SETLINK: 19, RTM_GETADDR: 22, RTM_GETROUTE: 26 },
    ...{ RTM_NEWQDISC: 36, RTM_DELTFILTER: 45, RTM_GETMULTICAST: 58, RTM_GETANYCAST: 62 },
    ...{ RTM_GETNEIGHTBL: 66, RTM_SETDCB: 79, RTM_GETNSID: 90, RTM_NEWSTATS: 92 },
    ...{ RTM_GETCHAIN: 102, RTM_GETLINKPROP: 110, RTM_NEWVLAN: 112, RTM_GETTUNNEL: 122 },
  };
  for (const [name, type] of Object.entries(numbers)) {
    t.match(named(name), { protocol: ROUTE, type }, name);
  }
});

t.test('a message is found by its protocol, its type and the family', async (t) => {
  const nameOf = (protocol: number, bytes: Uint8Array) => netlinkMessage(protocol, bytes)?.name;
  t.equal(nameOf(ROUTE, message(18, '11')), 'RTM_GETLINK', 'of any family');
  t.equal(nameOf(ROUTE, message(18 + 256, '00')), undefined, 'the type has two bytes');
  t.equal(nameOf(SOCK_DIAG, message(18, '00')), 'TCPDIAG_GETSOCK');
  t.equal(nameOf(SOCK_DIAG, message(20, '02')), 'SOCK_DIAG_BY_FAMILY of AF_INET');
  t.equal(nameOf(SOCK_DIAG, message(20, '0a')), 'SOCK_DIAG_BY_FAMILY of AF_INET6');
  t.equal(nameOf(SOCK_DIAG, message(20, '01')), 'SOCK_DIAG_BY_FAMILY of AF_UNIX');
  t.equal(nameOf(SOCK_DIAG, message(20, '03')), undefined, 'no such family');
  t.equal(nameOf(SOCK_DIAG, message(20)), undefined, 'no family');
  t.equal(nameOf(SOCK_DIAG, message(21, '02')), 'SOCK_DESTROY');
  t.equal(nameOf(ROUTE, new Uint8Array(0)), undefined);
  t.match(netlinkMessage(ROUTE, message(19, '00')), { kind: 'attach_xdp' });
  t.equal(netlinkMessage(ROUTE, message(19, '07'))?.kind, undefined, 'a bridge’s');
});

t.test('the least message of a kind has what is required of it', async (t) => {
  // Each begins with a struct nlmsghdr that has NLM_F_REQUEST.
  const word = '00000000';
  const cases = [
    ['RTM_GETLINK', undefined, `14000000 1200 0100 ${word.repeat(3)}`],
    // A struct ifinfomsg with the index, and IFLA_XDP with nothing in it.
    [
      'RTM_SETLINK',
      'attach_xdp',
      `24000000 1300 0100 ${word.repeat(3)} 07000000 ${word.repeat(2)} 0400 2b00`,
    ],
    // A struct tcmsg and TCA_KIND, which is filled up to a multiple of four bytes.
    [
      'RTM_NEWTFILTER',
      'attach_tc',
      `2c000000 2c00 0100 ${word.repeat(3)} 07000000 ${word.repeat(3)} 0800 0100 62706600`,
    ],
    [
      'RTM_NEWQDISC',
      'attach_tc',
      `30000000 2400 0100 ${word.repeat(3)} 07000000 ${word} f1ffffff ${word}
       0b00 0100 636c736163740000`,
    ],
    // All filters of a hook are meant by a message without a kind.
    [
      'RTM_DELTFILTER',
      'attach_tc',
      `24000000 2d00 0100 ${word.repeat(3)} 07000000 ${word} 0000ffff ${word}`,
    ],
    ['SOCK_DIAG_BY_FAMILY of AF_INET6', undefined, `48000000 1400 0100 ${word.repeat(2)} 0a`],
    ['SOCK_DIAG_BY_FAMILY of AF_UNIX', undefined, `14000000 1400 0100 ${word.repeat(2)} 01`],
  ] as const;
  for (const [name, kind, expected] of cases) {
    const bytes = leastNetlinkMessage(named(name, kind), 7);
    const whole = Buffer.alloc(bytes.length);
    whole.set(hex(expected));
    t.equal(toHex(bytes), toHex(whole), name);
    t.equal(bytes.length, bytes.readUInt32LE(0), `${name}: its length`);
  }
});

const setLink = named('RTM_SETLINK', 'attach_xdp');
const newFilter = named('RTM_NEWTFILTER', 'attach_tc');

t.test('descriptors are found where the attributes of a message have them', async (t) => {
  const link = (attributes: string) =>
    netlinkDescriptors(setLink, message(19, `${'00'.repeat(16)}${attributes}`));
  const filter = (attributes: string) =>
    netlinkDescriptors(newFilter, message(44, `${'00'.repeat(20)}${attributes}`));
  const one = '0800 0100 05000000';
  t.same(link(`0c00 2b00 ${one}`), [40], 'IFLA_XDP_FD in IFLA_XDP');
  t.same(link(`0c00 2b80 ${one}`), [40], 'the flag for nesting is no part of the type');
  t.same(
    link(`1c00 2b00 ${one} 0800 0300 00000000 0800 0800 06000000`),
    [40, 56],
    'IFLA_XDP_EXPECTED_FD is one, and IFLA_XDP_FLAGS is none',
  );
  t.same(link(`0800 0300 01000000 0c00 2b00 ${one}`), [48], 'behind an attribute that is unknown');
  t.same(link(one), [], 'nothing of the kind is outside of IFLA_XDP');
  t.same(link(`0c00 2a00 ${one}`), [], 'nor in another attribute');
  t.same(
    filter('0800 0100 62706600 1800 0200 0900 0700 6162636400 000000 0800 0600 05000000'),
    [64],
    'attributes begin at multiples of four bytes',
  );
});

t.test('an attribute that is cut, or too short for a descriptor, has none', async (t) => {
  const link = (attributes: string) =>
    netlinkDescriptors(setLink, message(19, `${'00'.repeat(16)}${attributes}`));
  t.same(link('0a00 2b00 0600 0100 0500'), [], 'two bytes');
  t.same(link('1000 2b00 0c00 0100 05000000 06000000'), [], 'eight bytes');
  t.same(link('0c00 2b00 0c00 0100 05000000'), [], 'it reaches beyond what contains it');
  t.same(link('1000 2b00 0800 0100 05000000'), [], 'that reaches beyond the message');
  t.same(link('0000 2b00 0c00 2b00 0800 0100 05000000'), [], 'a length of 0 ends the attributes');
  t.same(link('0300 2b00 0c00 2b00 0800 0100 05000000'), [], 'a length of 3, too');
  t.same(link('0400 2b00 0c00 2b00 0800 0100 05000000'), [44], 'a length of 4 is an empty one');
  t.same(link('0c00 2b00 0800 0100 05000000 0800'), [40], 'half a head behind it');
  t.same(link(''), []);
});

t.test('a message without known attributes has no descriptors', async (t) => {
  const bytes = message(19, `${'00'.repeat(16)} 0c00 2b00 0800 0100 05000000`);
  t.same(netlinkDescriptors(setLink, bytes), [40]);
  t.same(netlinkDescriptors(named('RTM_GETLINK'), bytes), []);
  t.same(netlinkDescriptors(undefined, bytes), []);
});
