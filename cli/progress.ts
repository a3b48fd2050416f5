import pc from 'picocolors';
import { cut, widthOf } from './text.js';

/** A line on standard error that shows what the user waits for. */
export interface ProgressLine {
  /** Shows the current step. On a terminal, it replaces the previous step. */
  show(step: string): void;
  /** Removes the line. */
  clear(): void;
}

const frames = '⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏';
const FRAME_MS = 100;
const USUAL_WIDTH = 80;

/**
 * Returns a progress line. On a terminal, it is animated. Elsewhere, each step is a line of its
 * own.
 */
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
        const time = seconds < 2 ? '' : ` ${seconds} s`;
        // A longer line would go on in the next one, which is not wiped.
        const room = widthOf(process.stderr, USUAL_WIDTH) - 2 - time.length;
        wipe();
        process.stderr.write(`${pc.cyan(mark)} ${cut(step, room)}${pc.dim(time)}`);
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
