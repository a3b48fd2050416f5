/** The part of a package-lock.json that is read here. */
export interface Lock {
  packages: Readonly<Record<string, LockedPackage>>;
}

interface LockedPackage {
  version?: string;
  os?: readonly string[];
  cpu?: readonly string[];
  optional?: boolean;
  optionalDependencies?: Readonly<Record<string, string>>;
}

/** The names of packages that linux-x64 has no use for. */
export function foreignPackages({ packages }: Lock): string[] {
  return Object.entries(packages)
    .filter(([path, { os, cpu }]) => {
      const fits = os?.includes('linux') !== false && cpu?.includes('x64') !== false;
      return path !== '' && !fits;
    })
    .map(([path]) => path.replace(/^.*node_modules\//, ''));
}

/**
 * Optional dependencies that a lock does not have: "<package> needs <dependency>". With one of
 * them "npm ci" refuses the lock.
 */
export function missingPackages({ packages }: Lock): string[] {
  return Object.entries(packages).flatMap(([path, { optionalDependencies }]) =>
    Object.keys(optionalDependencies ?? {})
      .filter(
        (name) => !folders(path).some((folder) => `${folder}node_modules/${name}` in packages),
      )
      .map((name) => `${path} needs ${name}`),
  );
}

/** Where Node looks for what a package needs, from the inside out, each with its last slash. */
function folders(path: string): string[] {
  const parts = path === '' ? [] : path.split(/\/?node_modules\//).slice(1);
  return [...parts.keys(), parts.length].reverse().map((n) =>
    parts
      .slice(0, n)
      .map((part) => `node_modules/${part}/`)
      .join(''),
  );
}
