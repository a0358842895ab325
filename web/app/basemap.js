// SPDX-License-Identifier: Apache-2.0
// The plain base map as a MapLibre style: bundled outlines and a grid, no glyphs, no sprites, nothing from outside.

/** Paint properties by layer; the colours are those of the page's theme (css/base.css). */
function paints() {
  const style = getComputedStyle(document.documentElement);
  const colour = (/** @type {string} */ name) => style.getPropertyValue(name).trim();
  return {
    water: { "background-color": colour("--map-water") },
    land: { "fill-color": colour("--map-land") },
    coast: { "line-color": colour("--map-coast"), "line-width": 1 },
    borders: { "line-color": colour("--map-border"), "line-width": 1, "line-dasharray": [4, 3] },
    grid: { "line-color": colour("--map-grid"), "line-width": 1 },
  };
}

/** @returns {any} a MapLibre style */
export function baseStyle() {
  const paint = paints();
  const outline = (/** @type {string} */ name) => new URL(`../basemap/${name}.geojson`, import.meta.url).href;
  return {
    version: 8,
    sources: {
      land: { type: "geojson", data: outline("land"), tolerance: 0.2 },
      borders: { type: "geojson", data: outline("borders"), tolerance: 0.2 },
      grid: {
        type: "geojson",
        data: gridLines(
          [
            [0, 0],
            [0, 0],
          ],
          10,
        ),
      },
    },
    layers: [
      { id: "water", type: "background", paint: paint.water },
      { id: "land", type: "fill", source: "land", paint: paint.land },
      { id: "grid", type: "line", source: "grid", paint: paint.grid },
      { id: "coast", type: "line", source: "land", paint: paint.coast },
      { id: "borders", type: "line", source: "borders", paint: paint.borders },
    ],
  };
}

/**
 * Repaints after a change of theme.
 * @param {any} map
 */
export function repaint(map) {
  for (const [layer, properties] of Object.entries(paints())) {
    for (const [name, value] of Object.entries(properties)) map.setPaintProperty(layer, name, value);
  }
}

const STEPS = [30, 10, 5, 2, 1, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01]; // degrees

/**
 * Step of the grid that gives about six lines across the view.
 * @param {number} width  of the view, degrees of longitude
 */
export function gridStep(width) {
  return STEPS.find((step) => step <= width / 5) ?? STEPS[STEPS.length - 1];
}

/**
 * Meridians and parallels over the view and a little beyond.
 * @param {[[number, number], [number, number]]} bounds  south-west and north-east corner
 * @param {number} step  degrees
 * @returns {any} GeoJSON
 */
export function gridLines([[west, south], [east, north]], step) {
  const lines = [];
  const [left, right] = [(Math.floor(west / step) - 1) * step, (Math.ceil(east / step) + 1) * step];
  const bottom = Math.max(-85, (Math.floor(south / step) - 1) * step);
  const top = Math.min(85, (Math.ceil(north / step) + 1) * step);
  for (let x = left; x <= right + step / 2; x += step)
    lines.push([
      [x, bottom],
      [x, top],
    ]);
  for (let y = bottom; y <= top + step / 2; y += step)
    lines.push([
      [left, y],
      [right, y],
    ]);
  return { type: "Feature", properties: {}, geometry: { type: "MultiLineString", coordinates: lines } };
}
