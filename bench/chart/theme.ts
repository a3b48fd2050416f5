import type { Config } from 'vega-lite';

/**
 * The colour of each transport; from the palette of Okabe and Ito, safe for colour-blind readers.
 */
const transports: Readonly<Record<string, string>> = {
  native: '#7a7a7a',
  tcp: '#e69f00',
  unix: '#cc79a7',
  'vsock-mux': '#0072b2',
  'vsock-kernel': '#56b4e9',
  'vsock-device': '#009e73',
  'fixed-shape': '#0072b2',
  'cbor-x': '#e69f00',
};

/**
 * The colour of an arm; arms of one transport, such as its C limit (`<transport>/c`), share one.
 */
export function colourOf(arm: string): string {
  return transports[arm.replace(/\/.*$/, '')] ?? '#444444';
}

const ink = '#1f2328';
const faint = '#59636e';

/** Opaque and light, so that a chart reads the same in light and dark viewers. */
export const theme: Config = {
  background: '#ffffff',
  font: 'Helvetica, Arial, sans-serif',
  padding: 16,
  title: {
    anchor: 'start',
    color: ink,
    fontSize: 17,
    fontWeight: 600,
    subtitleColor: faint,
    subtitleFontSize: 11,
    subtitlePadding: 6,
    subtitleLineHeight: 15,
    offset: 14,
  },
  axis: {
    labelColor: ink,
    titleColor: ink,
    labelFontSize: 11,
    titleFontSize: 12,
    titleFontWeight: 'normal',
    gridColor: '#e6e8eb',
    domainColor: '#9aa2ab',
    tickColor: '#9aa2ab',
  },
  legend: { labelColor: ink, titleColor: ink, labelFontSize: 12, titleFontSize: 12 },
  view: { stroke: null },
};

export const inks = { ink, faint, reference: '#b3261e' } as const;
