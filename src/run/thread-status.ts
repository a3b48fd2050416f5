import { readFileSync } from 'node:fs';

/**
 * Reads /proc/TID/status of a thread on this machine.
 *
 * @returns the first word of a field by the field's name; undefined for a field that the kernel does
 *   not report, and for every field of a thread that has ended
 */
export function threadStatus(thread: number): (field: string) => string | undefined {
  let status = '';
  try {
    status = readFileSync(`/proc/${thread}/status`, 'latin1');
  } catch {
    // The thread has ended.
  }
  return (field) => new RegExp(`^${field}:\\s*(\\w+)`, 'm').exec(status)?.[1];
}
