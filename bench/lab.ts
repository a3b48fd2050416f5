import type { GuestEnvironment } from './environment.js';
export interface Lab extends AsyncDisposable {
  guest?: { environment: GuestEnvironment };
}
