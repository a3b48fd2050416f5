import type { Handle } from '../call.js';
import type { MAP_CREATE, OBJ_GET_INFO_BY_FD_MAP } from './commands.js';
import { type MapSpec, type MapSpecs, specOfInfo, specOfNew } from './specs.js';
import type { Arguments, Results } from './types.js';

/**
 * The specs of the maps of one session. A map that the session has created is known from its
 * arguments; one that it found by id or path is known once it has been asked for its info.
 */
export class KnownMaps implements MapSpecs {
  readonly possibleCpus: number;
  readonly #maps = new Map<Handle, MapSpec>();

  /** @param possibleCpus how many CPUs the guest can have, not how many it has */
  constructor(possibleCpus: number) {
    this.possibleCpus = possibleCpus;
  }

  mapSpec(handle: Handle): MapSpec | undefined {
    return this.#maps.get(handle);
  }

  /** Takes note of a map that MAP_CREATE has bound to `handle`. */
  created(handle: Handle, values: Arguments<typeof MAP_CREATE>): void {
    this.#maps.set(handle, specOfNew(values));
  }

  /** Takes note of what OBJ_GET_INFO_BY_FD said about the map behind `handle`. */
  learned(handle: Handle, info: Results<typeof OBJ_GET_INFO_BY_FD_MAP>['info']): void {
    this.#maps.set(handle, specOfInfo(info));
  }

  /** Takes note of a spec that somebody has from elsewhere, such as where values hold programs. */
  set(handle: Handle, spec: MapSpec): void {
    this.#maps.set(handle, spec);
  }

  /** Forgets a handle that has been closed. */
  closed(handle: Handle): void {
    this.#maps.delete(handle);
  }

  /** Forgets every handle. */
  clear(): void {
    this.#maps.clear();
  }
}
