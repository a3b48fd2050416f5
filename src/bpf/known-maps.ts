import type { Handle } from '../call.js';
import type { MAP_CREATE, OBJ_GET_INFO_BY_FD_MAP } from './commands.js';
import { type MapSpec, type MapSpecs, specOfInfo, specOfNew } from './specs.js';
import type { Arguments, Results } from './types.js';

/**
 * The specs of the maps of one session. The arguments of MAP_CREATE give the spec of a map that the
 * session has created. The info of a map gives the spec of a map that was found by id or path.
 */
export class KnownMaps implements MapSpecs {
  readonly possibleCpus: number;
  readonly #maps = new Map<Handle, MapSpec>();

  /** @param possibleCpus the number of possible CPUs of the guest */
  constructor(possibleCpus: number) {
    this.possibleCpus = possibleCpus;
  }

  mapSpec(handle: Handle): MapSpec | undefined {
    return this.#maps.get(handle);
  }

  /** Records a map that MAP_CREATE has bound to `handle`. */
  created(handle: Handle, values: Arguments<typeof MAP_CREATE>): void {
    this.#maps.set(handle, specOfNew(values));
  }

  /** Records the result of OBJ_GET_INFO_BY_FD for the map behind `handle`. */
  learned(handle: Handle, info: Results<typeof OBJ_GET_INFO_BY_FD_MAP>['info']): void {
    this.#maps.set(handle, specOfInfo(info));
  }

  /**
   * Records a spec that the caller has from elsewhere, for example with the offsets of programs in
   * values.
   */
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
