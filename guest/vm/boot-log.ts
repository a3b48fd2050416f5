/* Finds out from a guest's console why its boot failed. */

/** The kernel says so on a microvm, which has no PCI, at each boot. */
const usual = /PCI: Fatal: No config space access function found/;

const PANIC = 'Kernel panic - not syncing: ';
const AGENT_ENDED = 'waep-init: the agent ended with ';

/** Returns the complete lines of a console. */
export function completeLines(text: string): string[] {
  return text.split(/\r?\n/).slice(0, -1);
}

/** Returns the kernel's own reason for its panic, or `undefined` if it did not panic. */
export function panicOf(lines: readonly string[]): string | undefined {
  const line = lines.find((one) => one.includes(PANIC));
  return line?.slice(line.indexOf(PANIC) + PANIC.length).trim();
}

/** Returns whether the kernel has printed its whole panic message. */
export function panicIsOver(lines: readonly string[]): boolean {
  return lines.some((line) => line.includes('---[ end Kernel panic'));
}

/** Returns whether the memory was too small for the root file system, which lies in memory. */
export function lacksMemory(lines: readonly string[]): boolean {
  return lines.some((line) =>
    /Initramfs unpacking failed|System is deadlocked on memory|Out of memory/.test(line),
  );
}

/** Returns how the agent ended and what it printed, or `undefined` while it runs. */
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

/** Returns the last line that shows how far a boot got, or `undefined`. */
export function lastLine(text: string): string | undefined {
  const lines = text.trim().split(/\r?\n/);
  return lines.findLast((line) => line.trim() !== '' && !usual.test(line))?.trim();
}

/**
 * Returns whether the timer of the first processor runs without interrupts, according to QEMU's
 * `info lapic`: the kernel measures it, or has given it up.
 */
export function timerIsOff(lapic: string): boolean {
  return /^LVTT\s.*\bmasked\b[^\n]*\n.*initial_count = 268435455\b/m.test(lapic);
}
