/* The rules about messages of netlink(7), from the table of those that are known. */
import { netlink } from '../bpf/index.js';
import { objectsFor } from './descriptors.js';
import type { Policy } from './policy.js';
import { type AttributeRule, type Check, NETLINK, type NetlinkRule, type Report } from './rules.js';

const { netlinkMessages } = netlink;
type Message = netlink.NetlinkMessage;

const all = (patterns: readonly string[]) => patterns.includes('*');
const numbered = netlinkMessages.map((message, index) => ({ message, command: NETLINK + index }));
const changing = numbered.filter(({ message }) => message.interface !== undefined);

/** The messages that can attach a program, by the numbers of their checks. */
export const netlinkAttaching: readonly number[] = changing
  .filter(({ message }) => hasDescriptor(message.attributes?.list ?? []))
  .map(({ command }) => command);

function hasDescriptor(list: readonly netlink.NetlinkAttribute[]): boolean {
  return list.some(
    ({ form }) => form === 'descriptor' || (Array.isArray(form) && hasDescriptor(form)),
  );
}

/** Returns which messages a policy allows. */
export function netlinkRules({ netlink: kinds }: Policy): NetlinkRule[] {
  return netlinkMessages.map(({ name, protocol, type, family, generic, kind }) => ({
    name,
    allowed: kind !== undefined && (all(kinds) || kinds.includes(kind)),
    protocol,
    type,
    ...(family === undefined ? {} : { family }),
    ...(generic === undefined ? {} : { generic }),
  }));
}

/**
 * Returns the checks of messages that change an interface, and of attributes. They bound what is
 * known under every policy: only so much of a message can be judged.
 */
export function netlinkChecks(policy: Policy): Check[] {
  return numbered.flatMap(({ message, command }) => {
    const about = { rule: 'netlink', command } as const;
    const { words = [], interface: offset, attributes } = message;
    return [
      ...words.map(
        ([at, least, last = least]): Check => ({
          ...about,
          kind: 'word',
          offset: at,
          values: [[least, last]],
        }),
      ),
      ...(attributes === undefined ? [] : [attributesCheck(about, attributes, policy)]),
      ...(offset === undefined ? [] : changeChecks(command, offset, policy)),
    ];
  });
}

function attributesCheck(
  about: { readonly rule: string; readonly command: number },
  { offset, list }: NonNullable<Message['attributes']>,
  policy: Policy,
): Check {
  const objects = objectsFor(policy)('attach');
  const ruleOf = ({ type, required = false, form }: netlink.NetlinkAttribute): AttributeRule => ({
    type,
    required,
    form:
      form === 'bytes'
        ? { is: 'bytes' }
        : form === 'descriptor'
          ? { is: 'descriptor', objects }
          : 'texts' in form
            ? { is: 'text', texts: form.texts }
            : { is: 'nested', attributes: form.map(ruleOf) },
  });
  return { ...about, kind: 'attributes', offset, attributes: list.map(ruleOf) };
}

function changeChecks(command: number, offset: number, policy: Policy): Check[] {
  const checks: Check[] = [];
  if (!all(policy.interfaces)) {
    checks.push({
      rule: 'interfaces',
      command,
      kind: 'interface',
      offset,
      names: policy.interfaces,
    });
  }
  if (policy.foreign_objects !== 'use') {
    // Such a message may replace or detach what others have attached, and does not name it.
    checks.push({ rule: 'foreign_objects', command, kind: 'word', offset, values: [] });
  }
  return checks;
}

/** How the audit log reports messages. */
export const netlinkReports: readonly Report[] = [
  ...numbered.map(
    ({ message, command }): Report => ({
      command,
      event: 'netlink',
      facts:
        message.interface === undefined
          ? []
          : [{ label: 'interface', kind: 'word', offset: message.interface }],
    }),
  ),
];
