import pc from 'picocolors';

/** A line on stderr that says what takes its time. */
export interface ProgressLine {
  /** Says what is being done; at a terminal in place of what was there before. */
  show(step: string): void;
  /** Takes the line away. */
  clear(): void;
}

const frames = '⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏';
const FRAME_MS = 100;

/** Makes a progress line: it turns at a terminal, and is a line per step elsewhere. */
export function progressLine(): ProgressLine {
  if (!process.stderr.isTTY) {
    return { show: (step) => void console.error(`· ${step}`), clear: () => {} };
  }
  let timer: NodeJS.Timeout | undefined;
  let frame = 0;
  const wipe = () => process.stderr.write('\r\x1b[K');
  return {
    show(step) {
      clearInterval(timer);
      const sinceMs = performance.now();
      const draw = () => {
        const seconds = Math.floor((performance.now() - sinceMs) / 1000);
        const mark = frames[frame++ % frames.length] ?? '';
        const time = seconds < 2 ? '' : pc.dim(` ${seconds} s`);
        wipe();
        process.stderr.write(`${pc.cyan(mark)} ${step}${time}`);
      };
      draw();
      timer = setInterval(draw, FRAME_MS);
      timer.unref();
    },
    clear() {
      if (timer === undefined) return;
      clearInterval(timer);
      timer = undefined;
      wipe();
    },
  };
}
