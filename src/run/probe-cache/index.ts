export { type Load, ProbeCache } from './probe-cache.js';
