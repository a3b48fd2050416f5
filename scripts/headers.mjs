import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';

const folders = [dirname(dirname(process.execPath)), '/usr', '/usr/local'];

/**
 * Where Node's own headers are: beside it, or beside another one of this machine, whose Node-API is
 * the same. Undefined where there are none; node-gyp fetches them then.
 */
export const headers = folders.find((folder) =>
  existsSync(join(folder, 'include/node/node_api.h')),
);
