/* Parses strace(1)'s lines about paths. */

/** A system call of a tool that names a path. */
export interface Named {
  readonly call: string;
  readonly path: string;
}

/** The options of strace: each call that names a path, and the paths behind descriptors. */
export const STRACE = [
  'strace',
  '-f',
  '-qq',
  '-y',
  '-e',
  'trace=%file,statfs',
  '-e',
  'signal=none',
];

const ofKernel = /^\/(proc|sys|dev|boot|lib\/modules|usr\/lib\/modules)(\/|$)/;

/** Returns every path below the kernel's folders in strace's output, with its numbers replaced. */
export function namedIn(text: string): Named[] {
  return text.split('\n').flatMap((line) => {
    const [, call = '', args = ''] = /^(?:\d+\s+)?(\w+)\((.*)$/.exec(line) ?? [];
    if (call === '' || call === 'execve') return [];
    // The folder of a relative path is behind its descriptor: 3</sys/class>, "net".
    const [, folder = '', path = ''] =
      /^(?:(?:AT_FDCWD|\d+)<([^>]*)>, )?"((?:[^"\\]|\\.)*)"/.exec(args) ?? [];
    const whole = path.startsWith('/') ? path : `${folder}/${path}`;
    return ofKernel.test(whole) ? [{ call, path: alike(whole) }] : [];
  });
}

/**
 * Returns a path with `ID` in place of process ids and the like, so that all runs have the same
 * names.
 */
export function alike(path: string): string {
  const simple = path.replace(/\/{2,}/g, '/').replace(/(.)\/$/, '$1');
  return simple
    .replace(/\/events\/[^/]+\/[^/]+\//, '/events/SYSTEM/EVENT/')
    .replace(/\/events\/[^/]+\/(?!EVENT|enable|filter)[^/]+$/, '/events/SYSTEM/EVENT')
    .replace(/\/events\/(?!SYSTEM|enable|header)[^/]+/, '/events/SYSTEM')
    .replace(/^\/proc\/\d+/, '/proc/ID')
    .replace(/^\/proc\/ID\/root\/.+/, '/proc/ID/root/PATH')
    .replace(/\/task\/\d+/, '/task/ID')
    .replace(/\/(fd|fdinfo|map_files)\/[^/]+/, '/$1/N')
    .replace(/^(\/(?:usr\/)?lib\/modules)\/[^/]+/, '$1/RELEASE')
    .replace(/^(\/boot\/[A-Za-z.]+)-\d[^/]*/, '$1-RELEASE')
    .replace(/^\/dev\/(pts|shm)\/.+/, '/dev/$1/N')
    .replace(/\/(cpu|node|memory|irq|loop|slab-|tty|zram)\d+/g, '/$1N');
}
