// SPDX-License-Identifier: Apache-2.0
/**
 * The shapes that travel between the hub and the page, and inside the page. Nothing here runs.
 *
 * @typedef {object} Stage  One named stage of a river level, as the hub sends it.
 * @property {string} code
 * @property {number} order  severity, 1 lowest
 * @property {string} nameJa
 * @property {string} nameEn
 * @property {string} colour  CSS hexadecimal colour
 * @property {string} shape  circle, diamond, triangle, square or cross
 *
 * @typedef {object} Threshold
 * @property {string} stage  code of a stage
 * @property {number} value  in the unit of the station's attribute
 *
 * @typedef {object} Station  One observed quantity of one entity.
 * @property {string} entityId
 * @property {string|null} deviceId
 * @property {string} name
 * @property {string[]} types
 * @property {[number, number]|null} location  longitude, latitude (WGS84)
 * @property {string} attribute
 * @property {string} unitCode  UN/CEFACT, MTR or MMT
 * @property {number|null} value
 * @property {string|null} observedAt
 * @property {number|null} ageSeconds  at the time of the answer
 * @property {number|null} expectedIntervalSeconds
 * @property {string|null} [quality]  good, suspect, missing, estimated or maintenance; null: nothing is said
 * @property {string[]} [qualityReasons]
 * @property {"live"|"late"|"missing"} status
 * @property {string|null} [reception]
 * @property {boolean} [floodSign]  silent, and its silence says that it is under water
 * @property {string|null} stage
 * @property {Threshold[]} thresholds
 *
 * @typedef {object} StationsAnswer
 * @property {string} generatedAt
 * @property {Stage[]} stages
 * @property {Station[]} stations
 * @property {Record<string, string>} [notice]  a sentence about the data, by language
 *
 * @typedef {object} Alert
 * @property {string} id
 * @property {string} entityId
 * @property {string} stationName
 * @property {string} stage
 * @property {number|null} threshold  null: a condition or silence raised it
 * @property {number} value  value that raised it, or cleared it once cleared
 * @property {number|null} peakValue
 * @property {string} raisedAt
 * @property {string|null} clearedAt
 * @property {"raised"|"cleared"} status
 * @property {boolean} [withdrawn]  cleared because the value that raised it turned out wrong
 * @property {string} [unitCode]
 *
 * @typedef {"acknowledge"|"shelve"|"unshelve"} AlarmAction
 *
 * @typedef {object} Alarm  A rule at a station from calm to calm.
 * @property {string} alarmId
 * @property {string} entityId
 * @property {"open"|"acknowledged"|"shelved"|"cleared"} status
 * @property {string} stage
 * @property {boolean} unknown  nothing is heard
 * @property {boolean} unstable
 * @property {number} escalation  how often it was told again
 * @property {{ ja?: string, en?: string }} stationName
 * @property {string|null} acknowledgedBy
 * @property {string|null} shelvedUntil
 * @property {string|null} shelvedBy
 * @property {string|null} shelveReason
 *
 * @typedef {object} Incident  The alarms on one river.
 * @property {string} incidentId
 * @property {{ ja?: string, en?: string }} name
 * @property {number} unacknowledged
 * @property {Alarm[]} alarms
 *
 * @typedef {object} StationState  What a station looks like; see stages.js.
 * @property {"stage"|"normal"|"noThresholds"|"late"|"missing"|"flooded"} kind
 * @property {Stage|null} stage  the present stage, or the last known one when late or missing
 * @property {number} severity  for sorting, higher is worse
 *
 * @typedef {[number, number|null]} Point  Seconds since 1970, value (null breaks the line).
 *
 * @typedef {object} Forecast  The newest run of a model for one station, in the unit of the station.
 * @property {string} model
 * @property {string} version
 * @property {boolean} isBaseline  the hub's own extrapolation
 * @property {number} issuedAt  milliseconds
 * @property {number} expiresAt  milliseconds; from then on it says nothing about the present
 * @property {[number, number][]} points
 *
 * @typedef {object} PageState  Everything the views show.
 * @property {Station[]} stations
 * @property {Map<string, Stage>} stages
 * @property {boolean} loaded  stations have been received at least once
 * @property {"loading"|"ok"|"lost"|"frozen"} link
 * @property {number|null} dataTime  hub time of the data shown, milliseconds
 * @property {number} silence  seconds since the data shown was the present
 * @property {boolean} streaming  the alert stream is open
 * @property {Map<string, Alert>} alerts
 * @property {"loading"|"ok"|"lost"} alertsLink
 * @property {Set<string>} freshAlerts  ids to highlight
 * @property {Incident[]} incidents  open ones
 * @property {"loading"|"ok"|"lost"} incidentsLink
 * @property {string|null} selected  key of the selected station
 * @property {string} filter
 * @property {string|null} kind  state the list is limited to
 * @property {"severity"|"name"} sort
 * @property {string} range
 * @property {string} lang
 * @property {Record<string, string>|null} notice
 */

export {};
