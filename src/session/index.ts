export {
  type CallOptions,
  Session,
  type SessionOptions,
  type SessionStatistics,
} from './session.js';
