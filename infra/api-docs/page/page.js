// Shows the OpenAPI document of the tier that serves this page. Builds elements, never markup from text, so that nothing
// in a document can become script.
'use strict';

const METHODS = ['get', 'post', 'put', 'patch', 'delete'];
let api;

/** An element: properties, then children (text, elements, or nothing). */
function el(tag, properties, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children.flat(Infinity).filter((child) => child !== undefined && child !== null && child !== ''));
  return element;
}

/** Follows references within the document. */
function resolve(thing) {
  while (thing && thing.$ref) {
    thing = thing.$ref.slice(2).split('/').reduce((at, key) => at[key.replace(/~1/g, '/').replace(/~0/g, '~')], api);
  }
  return thing;
}

const refName = (schema) => (schema.$ref ? schema.$ref.split('/').pop() : undefined);
const pretty = (value) => JSON.stringify(value, null, 2);

/** Text in which `code` is code. */
function prose(text, className) {
  const parts = (text || '').split('`').map((part, index) => (index % 2 ? el('code', {}, part) : part));
  return text ? el('div', { className: className || 'about' }, parts) : '';
}

/** All operations, each with its noun: the first tag, or the first part of the path after the version. */
function operations() {
  return Object.entries(api.paths).flatMap(([path, item]) =>
    METHODS.filter((method) => item[method]).map((method) => {
      const operation = item[method];
      const noun = (operation.tags && operation.tags[0]) || path.split('/')[2] || 'other';
      const parameters = [...(item.parameters || []), ...(operation.parameters || [])].map(resolve);
      const name = operation.operationId || `${method} ${path}`;
      return { path, method, operation, noun, parameters, name, id: `${method}-${name}`.replace(/[^\w-]/g, '-') };
    }),
  );
}

// Schemas

function kindOf(schema) {
  const target = resolve(schema);
  if (schema.$ref && target.type !== 'object') return refName(schema);
  if (target.const !== undefined) return JSON.stringify(target.const);
  if (target.type === 'array') return `list of ${kindOf(target.items || {})}`;
  const types = [].concat(target.type || []).filter((type) => type !== 'null');
  const name = refName(schema) || types.join(' or ');
  if (name) return target.format && !schema.$ref ? `${name}, ${target.format}` : name;
  const alternatives = (target.oneOf || target.anyOf || []).filter((one) => one.type !== 'null');
  if (alternatives.length === 1) return kindOf(alternatives[0]);
  return alternatives.length ? 'one of' : 'anything';
}

function rulesOf(schema) {
  const rules = [];
  const say = (key, words) => schema[key] !== undefined && rules.push(`${words} ${JSON.stringify(schema[key])}`);
  say('minimum', 'at least'); say('maximum', 'at most'); say('minLength', 'shortest'); say('maxLength', 'longest');
  say('minItems', 'fewest'); say('maxItems', 'most'); say('default', 'else'); say('enum', 'one of');
  if (schema.pattern && schema.pattern.length < 60) rules.push(schema.pattern);
  return rules.join(' · ');
}

/** What is inside a schema: its fields, the fields of what it lists, its alternatives. `above` stops recursion. */
function insideOf(schema, above) {
  const name = refName(schema);
  if (name && above.includes(name)) return '';
  const within = name ? [...above, name] : above;
  const target = resolve(schema);
  if (target.type === 'array' && target.items) return insideOf(target.items, within);
  const alternatives = (target.oneOf || target.anyOf || []).filter((one) => one.type !== 'null');
  if (alternatives.length === 1 && !target.properties) return insideOf(alternatives[0], within);
  const parts = [target, ...(target.allOf || []).map(resolve)];
  const properties = Object.assign({}, ...parts.map((part) => part.properties || {}));
  const required = parts.flatMap((part) => part.required || []);
  const names = Object.keys(properties);
  names.sort((a, b) => required.includes(b) - required.includes(a)); // Stable: otherwise as in the document.
  const choices = alternatives.map((one) => {
    const fields = Object.keys(resolve(one).properties || {}).length > 0;
    return el('li', {}, el('span', { className: 'kind' }, fields ? 'either with' : kindOf(one)), prose(resolve(one).description), insideOf(one, within));
  });
  if (!names.length && !choices.length) return '';
  return el('ul', { className: 'fields' }, names.map((field) => fieldOf(field, properties[field], required, within)), choices);
}

function fieldOf(name, schema, required, above) {
  const target = schema === true ? {} : resolve(schema);
  if (schema === true) return el('li', {}, el('span', { className: 'field-name' }, name));
  return el('li', {},
    el('span', { className: 'field-name' }, name), el('span', { className: 'kind' }, kindOf(schema)),
    required.includes(name) ? el('span', { className: 'required' }, 'required') : '',
    prose(schema.description || target.description),
    el('div', { className: 'rule' }, rulesOf({ ...target, ...schema })), insideOf(schema, above));
}

// Operations

function contentOf(content) {
  return Object.entries(content || {}).map(([type, media]) => mediaOf(type, media));
}

function mediaOf(type, media) {
  const schema = media['x-item-schema'] || media.schema || {};
  const alternatives = /problem/.test(type) ? resolve(schema).oneOf || [schema] : undefined;
  if (alternatives) return el('ul', { className: 'fields' }, alternatives.map(problemOf));
  return [
    el('div', { className: 'muted' }, el('code', {}, type), media['x-item-schema'] ? ', one to a line' : ''),
    insideOf(schema, []),
    media.example !== undefined ? el('pre', {}, typeof media.example === 'string' ? media.example : pretty(media.example)) : '',
  ];
}

function problemOf(schema) {
  const target = resolve(schema);
  const url = target.properties && target.properties.type && target.properties.type.const;
  const name = url ? el('a', { href: `v1/problems/${url.split('/').pop()}` }, url.split('/').pop()) : refName(schema);
  return el('li', {}, el('span', { className: 'field-name' }, name || 'problem'), prose(target.description));
}

function headersOf(response) {
  const headers = Object.entries(response.headers || {});
  if (!headers.length) return '';
  return el('ul', { className: 'fields' }, headers.map(([name, header]) => fieldOf(name, { ...resolve(resolve(header).schema || {}), description: resolve(header).description }, [], [])));
}

function responsesOf(operation) {
  return Object.entries(operation.responses || {}).map(([status, found]) => {
    const response = resolve(found);
    return el('details', { open: status === (operation.responses[201] ? '201' : '200') },
      el('summary', {}, el('span', { className: status < '400' ? 'status' : 'status bad' }, status), ' ', response.description || ''),
      headersOf(response), contentOf(response.content));
  });
}

function show({ path, method, operation, parameters, name, id }) {
  const roles = (operation['x-roles'] || []).map((role) => el('span', { className: 'chip' }, role));
  const fields = parameters.map((parameter) =>
    fieldOf(parameter.name, { ...parameter.schema, description: parameter.description || (resolve(parameter.schema || {}).description) }, parameter.required ? [parameter.name] : [], []));
  const inside = el('div', { className: 'inside' },
    prose(operation.description),
    roles.length ? [el('h3', {}, 'Who may'), el('div', {}, roles)] : '',
    fields.length ? [el('h3', {}, 'Parameters'), el('ul', { className: 'fields' }, fields)] : '',
    operation.requestBody ? [el('h3', {}, 'Body'), contentOf(resolve(operation.requestBody).content)] : '',
    el('h3', {}, 'Answers'), responsesOf(operation),
    tryOut(path, method, operation, parameters));
  const details = el('details', { className: 'operation', id },
    el('summary', {}, el('span', { className: `method ${method}` }, method.toUpperCase()),
      el('span', { className: 'path' }, path), el('span', { className: 'muted' }, operation.summary || name)),
    inside);
  details.dataset.words = `${method} ${path} ${operation.summary || ''} ${name}`.toLowerCase();
  return details;
}

// Trying things out

/** A new key. `randomUUID` exists in secure contexts only, and a local platform need not be one. */
function newKey() {
  return [...crypto.getRandomValues(new Uint8Array(12))].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

function tryOut(path, method, operation, parameters) {
  const inputs = parameters.map((parameter) => {
    const input = el('input', { value: parameter.name === 'Idempotency-Key' ? newKey() : String(parameter.example ?? '') });
    return { parameter, input };
  });
  const [type, media] = Object.entries((resolve(operation.requestBody) || {}).content || {})[0] || [];
  const example = media && (typeof media.example === 'string' ? media.example : pretty(media.example ?? {}));
  const body = type ? el('textarea', { value: example, rows: Math.min(16, example.split('\n').length + 1), ariaLabel: 'Body' }) : undefined;
  const answer = el('div', { ariaLive: 'polite' });
  const send = async () => {
    const query = new URLSearchParams();
    const headers = {};
    let url = path;
    for (const { parameter, input } of inputs) {
      if (!input.value) continue;
      if (parameter.in === 'path') url = url.replace(`{${parameter.name}}`, encodeURIComponent(input.value));
      if (parameter.in === 'query') query.set(parameter.name, input.value);
      if (parameter.in === 'header') headers[parameter.name] = input.value;
    }
    const token = document.getElementById('token').value.trim();
    if (token) headers.Authorization = `Bearer ${token}`;
    if (type) headers['Content-Type'] = type;
    try {
      const response = await fetch(url.slice(1) + (query.size ? `?${query}` : ''), { method: method.toUpperCase(), headers, body: body && body.value });
      const text = await response.text();
      let shown = text;
      try { shown = pretty(JSON.parse(text)); } catch { /* It is not one JSON value; shown as it came. */ }
      const told = ['etag', 'kontor-position', 'retry-after', 'traceresponse'].filter((header) => response.headers.has(header));
      answer.replaceChildren(
        el('p', {}, el('span', { className: response.ok ? 'status' : 'status bad' }, `${response.status} ${response.statusText}`)),
        el('pre', {}, told.map((header) => `${header}: ${response.headers.get(header)}\n`).join(''), '\n', shown));
    } catch (error) {
      answer.replaceChildren(el('p', { className: 'status bad' }, `Not answered: ${error.message}`));
    }
  };
  return el('details', { className: 'try' }, el('summary', {}, el('strong', {}, 'Try it')),
    inputs.map(({ parameter, input }) => el('label', {}, parameter.name, input)), body,
    el('p', {}, el('button', { type: 'button', onclick: send }, 'Send')), answer);
}

// The page

function openNamed() {
  const target = location.hash && document.getElementById(location.hash.slice(1));
  if (target && target.tagName === 'DETAILS') target.open = true;
  if (target) target.scrollIntoView();
}

function filter(words) {
  for (const operation of document.querySelectorAll('.operation')) {
    operation.hidden = !operation.dataset.words.includes(words.trim().toLowerCase());
  }
  for (const section of document.querySelectorAll('section')) {
    section.hidden = ![...section.querySelectorAll('.operation')].some((operation) => !operation.hidden);
  }
}

async function start() {
  const main = document.getElementById('main');
  const response = await fetch('v1/openapi.json');
  if (!response.ok) throw new Error(`the document answers ${response.status}`);
  api = await response.json();
  document.title = api.info.title;
  document.getElementById('title').textContent = api.info.title;
  const nouns = new Map((api.tags || []).map((tag) => [tag.name, []])); // In the document's order, where it has one.
  for (const one of operations()) nouns.set(one.noun, [...(nouns.get(one.noun) || []), one]);
  const paragraphs = (api.info.description || '').split('\n\n').map((text) => el('p', {}, prose(text)));
  main.replaceChildren(...paragraphs, el('p', { className: 'muted' }, el('a', { href: 'v1/openapi.json' }, 'openapi.json')));
  for (const [noun, all] of nouns) {
    main.append(el('section', {}, el('h2', { id: noun }, noun), all.map(show)));
    document.getElementById('nav').append(el('a', { className: 'noun', href: `#${noun}` }, noun),
      ...all.map(({ id, operation, name }) => el('a', { href: `#${id}` }, operation.summary || name)));
  }
  document.getElementById('filter').addEventListener('input', (event) => filter(event.target.value));
  addEventListener('hashchange', openNamed);
  openNamed();
}

start().catch((error) => {
  document.getElementById('main').replaceChildren(el('p', { className: 'status bad' }, `The document cannot be shown: ${error.message}`));
});
