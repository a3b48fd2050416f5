/*
 * The messages of netlink(7) that show a kernel's network, or attach programs to it. The kernel
 * finds the function for a message by its protocol, its type and the family, which is the first byte
 * behind the header (rtnetlink_rcv_msg() of net/core/rtnetlink.c, __sock_diag_cmd() of
 * net/core/sock_diag.c).
 */

/** The protocols of AF_NETLINK that are known. */
export const NetlinkProtocol = {
  NETLINK_ROUTE: 0,
  NETLINK_SOCK_DIAG: 4,
  NETLINK_GENERIC: 16,
} as const;

/** The kinds of messages that a policy distinguishes. */
export const netlinkKinds = ['read_network', 'read_sockets', 'attach_xdp', 'attach_tc'] as const;
/** A kind of messages that a policy distinguishes. */
export type NetlinkKind = (typeof netlinkKinds)[number];

/** An attribute of a message: bytes, a descriptor, one of some texts, or attributes. */
export interface NetlinkAttribute {
  /** The number of the attribute. */
  readonly type: number;
  /** Whether a message must have it. Default: no. */
  readonly required?: boolean;
  /** What it has. */
  readonly form: 'bytes' | 'descriptor' | { readonly texts: readonly string[] } | Attributes;
}
type Attributes = readonly NetlinkAttribute[];

/** A message that is known. Offsets are bytes from the start of its header. */
export interface NetlinkMessage {
  /** The name in refusals. */
  readonly name: string;
  /** One of {@link NetlinkProtocol}. */
  readonly protocol: number;
  /** `nlmsg_type`. */
  readonly type: number;
  /** The family for which it is known. Absent: any. */
  readonly family?: number;
  /**
   * The family of NETLINK_GENERIC of which it is. Each kernel numbers these families itself, so that
   * no `type` is known.
   */
  readonly generic?: string;
  /** Absent: no policy allows it. */
  readonly kind?: NetlinkKind;
  /** 32-bit words with the only value that they may have, or the first and the last of them. */
  readonly words?: readonly (readonly [offset: number, first: number, last?: number])[];
  /** The offset of the index of the interface that is changed. */
  readonly interface?: number;
  /** All attributes that the message may have, from an offset on. Absent: any. */
  readonly attributes?: { readonly offset: number; readonly list: Attributes };
}

/** The bytes of `struct nlmsghdr`. */
export const NLMSG_HDRLEN = 16;
/** The bytes of an attribute's head, `struct nlattr`. */
export const NLA_HDRLEN = 4;
/** The bits of an attribute's type that say which one it is. */
export const NLA_TYPE_MASK = 0x3fff;

/** What messages of routing are about, in the order of their types (linux/rtnetlink.h). */
const subjects = `LINK ADDR ROUTE NEIGH RULE QDISC TCLASS TFILTER ACTION PREFIX MULTICAST ANYCAST
  NEIGHTBL NDUSEROPT ADDRLABEL DCB NETCONF MDB NSID STATS CACHEREPORT CHAIN NEXTHOP LINKPROP VLAN
  NEXTHOPBUCKET TUNNEL`.split(/\s+/);
const RTM_BASE = 16;
const verbs = ['NEW', 'DEL', 'GET', 'SET'];
/** Of the messages of a subject, the kernel lets everybody send this one (rtnl_msg_kind()). */
const GET = verbs.indexOf('GET');

const typeOf = (subject: string, verb: string) =>
  RTM_BASE + subjects.indexOf(subject) * verbs.length + verbs.indexOf(verb);

const route = (
  subject: string,
  verb: string,
  more: Omit<NetlinkMessage, 'name' | 'protocol' | 'type'>,
): NetlinkMessage => ({
  name: `RTM_${verb}${subject}`,
  protocol: NetlinkProtocol.NETLINK_ROUTE,
  type: typeOf(subject, verb),
  ...more,
});

const bytes = (type: number): NetlinkAttribute => ({ type, form: 'bytes' });
const descriptor = (type: number): NetlinkAttribute => ({ type, form: 'descriptor' });
const kind = (...texts: string[]): NetlinkAttribute => ({
  type: 1, // TCA_KIND
  required: true,
  form: { texts },
});

const AF_UNSPEC = 0;
/** `struct ifinfomsg`: the family and the device's type, the index, the flags, and a mask of them. */
const IFINFO = { family: 16, index: 20, flags: 24, change: 28, end: 32 };
/** `struct tcmsg`: the family, the index, the handle, the parent and the info. */
const TC = { family: 16, index: 20, parent: 28, end: 36 };
/** TC_H_CLSACT, which is also TC_H_INGRESS. */
const CLSACT = 0xffff_fff1;
/** The parents of filters there: the queue `ingress`, up to the second hook of `clsact`. */
const INGRESS = 0xffff_0000;
const CLSACT_EGRESS = 0xffff_fff3;

const xdp = {
  kind: 'attach_xdp',
  family: AF_UNSPEC,
  words: [
    [IFINFO.family, 0],
    [IFINFO.flags, 0],
    [IFINFO.change, 0],
  ],
  interface: IFINFO.index,
  attributes: {
    offset: IFINFO.end,
    list: [
      // IFLA_XDP with IFLA_XDP_FD, IFLA_XDP_FLAGS and IFLA_XDP_EXPECTED_FD
      { type: 43, required: true, form: [descriptor(1), bytes(3), descriptor(8)] },
    ],
  },
} as const;

const filter = {
  kind: 'attach_tc',
  family: AF_UNSPEC,
  words: [[TC.family, 0]],
  interface: TC.index,
  attributes: {
    offset: TC.end,
    list: [
      kind('bpf'),
      // TCA_OPTIONS with TCA_BPF_CLASSID, TCA_BPF_FD, TCA_BPF_NAME, TCA_BPF_FLAGS and
      // TCA_BPF_FLAGS_GEN
      { type: 2, form: [bytes(3), descriptor(6), bytes(7), bytes(8), bytes(9)] },
      bytes(11), // TCA_CHAIN
    ],
  },
} as const;

/**
 * tc(8) removes all filters of a hook by a message without their kind. The hooks are those of the
 * queues whose removal, which `attach_tc` allows, removes all of their filters as well.
 */
const filtersOfHook = {
  ...filter,
  words: [...filter.words, [TC.parent, INGRESS, CLSACT_EGRESS]],
  attributes: {
    ...filter.attributes,
    list: filter.attributes.list.map((one) => ({ ...one, required: false })),
  },
} as const;

const qdisc = {
  kind: 'attach_tc',
  family: AF_UNSPEC,
  words: [
    [TC.family, 0],
    [TC.parent, CLSACT],
  ],
  interface: TC.index,
  attributes: {
    offset: TC.end,
    // TCA_OPTIONS, which is empty
    list: [kind('clsact', 'ingress'), { type: 2, form: [] }],
  },
} as const;

const SOCK_DIAG_BY_FAMILY = 20;
/** The bytes of `struct inet_diag_req_v2` behind the header. */
const INET_DIAG_END = NLMSG_HDRLEN + 56;

const TCPDIAG_GETSOCK = 18;
/** The bytes of `struct inet_diag_req` behind the header. */
const TCPDIAG_END = NLMSG_HDRLEN + 60;

const sockets = (name: string, family: number, list?: Attributes): NetlinkMessage => ({
  name: `SOCK_DIAG_BY_FAMILY of ${name}`,
  protocol: NetlinkProtocol.NETLINK_SOCK_DIAG,
  type: SOCK_DIAG_BY_FAMILY,
  family,
  kind: 'read_sockets',
  ...(list === undefined ? {} : { attributes: { offset: INET_DIAG_END, list } }),
});

/** The bytes of `struct genlmsghdr` behind the header. Its first byte is the command. */
const GENERIC_END = NLMSG_HDRLEN + 4;
const GENL_ID_CTRL = 16;

/**
 * What libbpf and libxdp ask before they attach XDP: the number of the family `netdev`, and what an
 * interface can do.
 */
const generic: readonly NetlinkMessage[] = [
  {
    name: 'CTRL_CMD_GETFAMILY',
    protocol: NetlinkProtocol.NETLINK_GENERIC,
    type: GENL_ID_CTRL,
    family: 3,
    kind: 'read_network',
    // CTRL_ATTR_FAMILY_ID and CTRL_ATTR_FAMILY_NAME
    attributes: { offset: GENERIC_END, list: [bytes(1), bytes(2)] },
  },
  {
    name: 'NETDEV_CMD_DEV_GET',
    protocol: NetlinkProtocol.NETLINK_GENERIC,
    type: 0,
    generic: 'netdev',
    family: 1,
    kind: 'read_network',
    // NETDEV_A_DEV_IFINDEX
    attributes: { offset: GENERIC_END, list: [bytes(1)] },
  },
];

/** INET_DIAG_REQ_BYTECODE and INET_DIAG_REQ_PROTOCOL. A third one names maps by descriptors. */
const ofInternet = [bytes(1), bytes(3)];

/** All messages that are known. The first one that fits a message is about it. */
export const netlinkMessages: readonly NetlinkMessage[] = [
  route('LINK', 'SET', xdp),
  // ip(8) attaches by this message. Without what makes it new, it changes an interface.
  route('LINK', 'NEW', xdp),
  route('TFILTER', 'NEW', filter),
  route('TFILTER', 'DEL', filtersOfHook),
  route('QDISC', 'NEW', qdisc),
  route('QDISC', 'DEL', qdisc),
  // NETNSA_NSID and NETNSA_TARGET_NSID. Others name a process or a descriptor of the sender.
  route('NSID', 'GET', {
    kind: 'read_network',
    attributes: { offset: NLMSG_HDRLEN + 4, list: [bytes(1), bytes(4)] },
  }),
  ...subjects.flatMap((subject) =>
    verbs.map((verb, index) => route(subject, verb, index === GET ? { kind: 'read_network' } : {})),
  ),
  ...generic,
  sockets('AF_INET', 2, ofInternet),
  sockets('AF_INET6', 10, ofInternet),
  // ss(8) asks so where the kernel does not know how to ask by family.
  {
    name: 'TCPDIAG_GETSOCK',
    protocol: NetlinkProtocol.NETLINK_SOCK_DIAG,
    type: TCPDIAG_GETSOCK,
    kind: 'read_sockets',
    attributes: { offset: TCPDIAG_END, list: [bytes(1)] },
  },
  sockets('AF_UNIX', 1),
  sockets('AF_NETLINK', 16),
  sockets('AF_PACKET', 17),
  sockets('AF_VSOCK', 40),
  sockets('AF_XDP', 44),
  {
    name: 'SOCK_DESTROY',
    protocol: NetlinkProtocol.NETLINK_SOCK_DIAG,
    type: SOCK_DIAG_BY_FAMILY + 1,
  },
];

/** Returns what is known of a message, by its protocol and its bytes with the header. */
export function netlinkMessage(protocol: number, message: Uint8Array): NetlinkMessage | undefined {
  const type = (message[4] ?? 0) | ((message[5] ?? 0) << 8);
  const family = message[NLMSG_HDRLEN] ?? 0;
  return netlinkMessages.find(
    (one) =>
      one.protocol === protocol &&
      one.type === type &&
      (one.family === undefined || one.family === family),
  );
}

/** Returns the offsets of the descriptors in the attributes of a message. */
export function netlinkDescriptors(known: NetlinkMessage | undefined, message: Buffer): number[] {
  if (known?.attributes === undefined) return [];
  const found: number[] = [];
  const search = (list: Attributes, begin: number, end: number): void => {
    for (let at = begin; at + NLA_HDRLEN <= end; ) {
      const length = message.readUInt16LE(at);
      if (length < NLA_HDRLEN || length > end - at) return;
      const type = message.readUInt16LE(at + 2) & NLA_TYPE_MASK;
      const form = list.find((one) => one.type === type)?.form;
      const content = at + NLA_HDRLEN;
      if (form === 'descriptor' && length === NLA_HDRLEN + 4) found.push(content);
      else if (Array.isArray(form)) search(form as Attributes, content, at + length);
      at += (length + 3) & ~3;
    }
  };
  search(known.attributes.list, known.attributes.offset, message.length);
  return found;
}

/** Returns a message that has what is required of it and nothing else. */
export function leastNetlinkMessage(known: NetlinkMessage, ifindex = 0): Buffer {
  const attributes = (list: Attributes): Buffer =>
    Buffer.concat(
      list
        .filter(({ required = false }) => required)
        .map(({ type, form }) => {
          const content = Array.isArray(form)
            ? attributes(form as Attributes)
            : typeof form === 'object' && 'texts' in form
              ? Buffer.from(`${form.texts[0]}\0`)
              : Buffer.alloc(4);
          const head = Buffer.alloc(NLA_HDRLEN);
          head.writeUInt16LE(NLA_HDRLEN + content.length, 0);
          head.writeUInt16LE(type, 2);
          return Buffer.concat([head, content, Buffer.alloc(-content.length & 3)]);
        }),
    );
  const { offset = NLMSG_HDRLEN + 4, list = [] } = known.attributes ?? {};
  const fixed = Buffer.alloc(offset);
  for (const [at, value] of known.words ?? []) fixed.writeUInt32LE(value, at);
  if (known.interface !== undefined) fixed.writeUInt32LE(ifindex, known.interface);
  const message = Buffer.concat([fixed, attributes(list)]);
  message.writeUInt32LE(message.length, 0);
  message.writeUInt16LE(known.type, 4);
  message.writeUInt16LE(1, 6); // NLM_F_REQUEST
  if (known.family !== undefined) message[NLMSG_HDRLEN] = known.family;
  return message;
}
