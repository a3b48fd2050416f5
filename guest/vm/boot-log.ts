/* What the console of a guest says about a boot that came to nothing. */

/** The kernel says so on a microvm, which has no PCI, at each boot. */
const usual = /PCI: Fatal: No config space access function found/;

const PANIC = 'Kernel panic - not syncing: ';
const AGENT_ENDED = 'waep-init: the agent ended with ';

/** The lines of a console that were ended. */
export function completeLines(text: string): string[] {
  return text.split(/\r?\n/).slice(0, -1);
}

/** Why the kernel panicked, in its own words, or `undefined` when it did not. */
export function panicOf(lines: readonly string[]): string | undefined {
  const line = lines.find((one) => one.includes(PANIC));
  return line?.slice(line.indexOf(PANIC) + PANIC.length).trim();
}

/** Whether the kernel has said all that it says when it panics. */
export function panicIsOver(lines: readonly string[]): boolean {
  return lines.some((line) => line.includes('---[ end Kernel panic'));
}

/** Whether the memory was too small for the root file system, which is unpacked into it. */
export function lacksMemory(lines: readonly string[]): boolean {
  return lines.some((line) =>
    /Initramfs unpacking failed|System is deadlocked on memory|Out of memory/.test(line),
  );
}

/** How the agent ended and what it said, or `undefined` while it has not. */
export function agentEnding(lines: readonly string[]): string | undefined {
  const end = lines.findIndex((line) => line.startsWith(AGENT_ENDED));
  if (end === -1) return undefined;
  const start = lines.indexOf('waep-init: ready');
  const words = lines
    .slice(start + 1, end)
    // The kernel and the guest's other programs share the console.
    .filter(
      (line) => line.trim() !== '' && !/^(\[ *\d+\.\d+\]|waep-init: |waep-execd: )/.test(line),
    );
  const how = lines[end]?.slice(AGENT_ENDED.length);
  return `the agent ended with ${how}${words.length === 0 ? '' : `: ${words.join(' ')}`}`;
}

/** The last line that tells where a boot got to, or `undefined` when there is none. */
export function lastLine(text: string): string | undefined {
  const lines = text.trim().split(/\r?\n/);
  return lines.findLast((line) => line.trim() !== '' && !usual.test(line))?.trim();
}

/**
 * Whether the kernel has given up the timer of its first processor, as QEMU's `info lapic` tells: it
 * has set the timer going to measure it, and then masked it for good.
 */
export function timerIsOff(lapic: string): boolean {
  return /^LVTT\s.*\bmasked\b[^\n]*\n.*initial_count = 268435455\b/m.test(lapic);
}
