// What a landing page tells of a visit. It throws nothing, changes nothing of the page but fields that
// are there for it, and keeps nothing without consent. The server puts a tenant's settings in the place
// of SETTINGS:
//   js     the address of this script, in case the page hides which tag it is
//   click  fields that get the visit's id
//   copy   fields that get a parameter: [field, parameter, another]
//   days   how long an ad's visit is remembered, with consent
//   free   whether no consent is needed here
// It also leaves out comments and blanks, and gives the names of the next line one letter each. It
// knows strings and nothing else of the language: every statement ends in a semicolon, no blank stands
// in a regular expression, and those names mean nothing to a browser.
//short quiet visit query field never fill look pick isAd kept send put api tag pair given own soon due yes mode beacon answer what told byte box to copied old named each fields
((w, d, set) => {
  var api = w.roasd || {};
  var tag = d.currentScript || d.querySelector('script[src*="' + set.js + '"]');
  // Loaded a second time: the first one goes on.
  if (!tag || api.consent) return;
  var mode = tag.getAttribute('data-consent');
  // A browser that says no for all sites is believed, whatever the page says.
  var never = navigator.globalPrivacyControl;
  var yes = api.consented;
  var visit, due;
  if (yes == null && (mode == 'given' || set.free && mode != 'required')) yes = true;

  var quiet = what => (...given) => { try { return what(...given); } catch (e) {} };
  var each = (list, what) => [].forEach.call(list, what);
  var fields = what => each(d.getElementsByTagName('input'), what);

  // The parameters that an ad's link has, and nothing else of an address.
  var pick = to => (to.split('#')[0].split('?')[1] || '').split('&').filter(pair =>
    /^(fbclid|ad_id|adset_id|campaign_id|utm_\w+)=./i.test(pair)).join('&');
  var isAd = query =>
    /\b(fbclid=|(ad_id|adset_id|campaign_id|utm_(content|term|campaign))=\d+(&|$))/i.test(query);

  // Reads what is kept, keeps it, or (null) forgets it. Storage may be full, forbidden or missing.
  var kept = quiet(visit => {
    var box = w.localStorage;
    if (visit) box.roasd = [visit.id, visit.at, visit.query].join(' ');
    else if (visit === null) delete box.roasd;
    else {
      var [id, at, query] = box.roasd.split(' ');
      return { id, at, query, told: true };
    }
  });

  var send = quiet(() => {
    var told = { visit_id: visit.id, url: '?' + visit.query, consent: yes };
    if (yes) quiet(() => {
      told.device = {
        screen: screen.width + 'x' + screen.height,
        utc_offset_minutes: -new Date().getTimezoneOffset(),
        time_zone: Intl.DateTimeFormat().resolvedOptions().timeZone
      };
      told.fbc = (/(^|;\s)_fbc=([^;]+)/.exec(d.cookie) || [])[2];
    })();
    // A text needs no preflight.
    told = JSON.stringify(told);
    var to = tag.src.replace(/\.js([?#].*)?$/, '/click');
    var beacon = quiet(() => navigator.sendBeacon(to, told));
    try {
      w.fetch(to, { method: 'POST', body: told, keepalive: true, credentials: 'omit' }).catch(beacon);
    } catch (e) { beacon(); }
  });

  var put = (field, given) => {
    if (!given || field.value == given) return;
    // Frameworks replace the setter of a field to follow it; the browser's own is what typing does.
    Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value').set.call(field, given);
    each(['input', 'change'], named => field.dispatchEvent(new Event(named, { bubbles: true })));
  };

  var fill = quiet(() => {
    if (!visit) return;
    var given = {};
    each(visit.query.split('&'), pair => {
      pair = pair.split('=');
      given[pair[0]] = quiet(decodeURIComponent)(pair[1]);
    });
    fields(field => {
      // HubSpot's newer forms put the kind of object first: 0-1/name.
      var named = field.name.split('/').pop();
      if (set.click.includes(named)) put(field, visit.id);
      // What the ad left unreplaced, {{ad.id}}, is nothing.
      else if (field.type == 'hidden' && !field.value) each(set.copy, copied => {
        if (copied[0] == named) put(field, copied.slice(1).map(named => given[named]).find(given => /^[^{]+$/.test(given || '')));
      });
    });
  });

  // Looks where the visitor is: a page opened, consent given, or an app went on to its next view.
  var look = quiet(() => {
    due = 0;
    if (never || yes === false || mode == 'required' && !yes) return;
    // On the next page of the same site the ad's parameters are in the address one comes from.
    var query = pick(location.href) || (d.referrer.indexOf(location.origin + '/') ? '' : pick(d.referrer));
    var old = yes && kept();
    if (!visit || isAd(query) && query != visit.query) {
      visit = old && Date.now() - old.at < set.days * 864e5 && (!isAd(query) || query == old.query) ? old : {
        id: [].map.call(crypto.getRandomValues(new Uint8Array(16)), byte => (byte + 256).toString(16).slice(1)).join(''),
        query: query,
        at: Date.now()
      };
    }
    if (visit.told != !!yes) {
      visit.told = !!yes;
      if (yes && isAd(visit.query)) kept(visit);
      send();
    }
    fill();
  });

  var soon = () => { due = due || setTimeout(look, 20); };

  w.roasd = api;
  api.consent = quiet(answer => {
    if (never) return;
    yes = answer === true;
    if (yes) return look();
    kept(null);
    if (!visit) return;
    send();
    fields(field => { if (field.value == visit.id) field.value = ''; });
    visit = 0;
  });

  // A tag that ran before the page's forms were there, in a browser that tells of no mutations.
  d.addEventListener('DOMContentLoaded', soon);
  quiet(() => new MutationObserver(soon).observe(d, { childList: true, subtree: true }))();
  d.addEventListener('submit', fill, true);
  w.addEventListener('popstate', soon);
  each(['pushState', 'replaceState'], quiet(named => {
    var own = history[named];
    history[named] = function () {
      soon();
      return own.apply(this, arguments);
    };
  }));
  // A page that is only prepared in the background is no visit yet.
  if (d.prerendering) d.addEventListener('prerenderingchange', look);
  else look();
})(window, document, SETTINGS);
