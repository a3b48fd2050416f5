export {
  callFrameBound,
  callFrameParts,
  outputLengths,
  parseReply,
  putCallFrame,
} from './call.js';
export {
  type FrameHeader,
  FrameType,
  frameTypeName,
  HEADER_BYTES,
  MAX_FRAME_BYTES,
  PROTOCOL_VERSION,
  parseHeader,
  putHeader,
} from './header.js';
export {
  decodeBody,
  errorBody,
  type Hello,
  type KernelFacts,
  messageFrame,
  parseError,
  parseHello,
  parseWelcome,
  type SessionLimits,
  type Welcome,
} from './messages.js';
export { ioctlBody, perfOpenBody } from './requests.js';
export { type Frame, FrameAssembler, readFrame } from './stream.js';
