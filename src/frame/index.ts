export { decodeBody } from './body.js';
export {
  callFrameBound,
  callFrameParts,
  chainFrame,
  outputLengths,
  parseChainReply,
  parseReply,
  putCallFrame,
} from './call.js';
export { type Events, parseEvents, StreamSource } from './events.js';
export {
  FrameFlag,
  FrameType,
  frameTypeName,
  HEADER_BYTES,
  MAX_CHAIN_CALLS,
  MAX_FRAME_BYTES,
  PROTOCOL_VERSION,
  parseHeader,
  putHeader,
} from './header.js';
export {
  errorBody,
  type JoinPurpose,
  type KernelInfo,
  messageFrame,
  parseError,
  parseHello,
  parseJoin,
  parseWelcome,
  type SessionLimits,
  type Welcome,
} from './messages.js';
export { ioctlBody, netlinkBody, perfOpenBody } from './requests.js';
export { type Frame, FrameAssembler, readFrame } from './stream.js';
