//! Times as directives write them: durations (`$timedelta`) and crontab lines (`$crontab`).

use jiff::{Span, SpanRelativeTo};

use super::item::{Entry, What};
use crate::model::value::Key;

const UNITS: [(&str, i64); 7] = [
    ("weeks", 7 * 86_400_000_000),
    ("days", 86_400_000_000),
    ("hours", 3_600_000_000),
    ("minutes", 60_000_000),
    ("seconds", 1_000_000),
    ("milliseconds", 1_000),
    ("microseconds", 1),
];

/// A duration in microseconds, or what was expected.
pub fn microseconds(what: &What) -> Result<i64, &'static str> {
    match what {
        What::Text(text) => parse(text).ok_or("expected a duration with its units, like \"1h30m\" or \"7d\""),
        What::Map(entries) => sum(entries),
        _ => Err("expected a duration: text like \"1h30m\", or a mapping like {hours: 1, minutes: 30}"),
    }
}

fn parse(text: &str) -> Option<i64> {
    let span: Span = text.parse().ok()?;
    let duration = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
    i64::try_from(duration.as_micros()).ok()
}

fn sum(entries: &[Entry]) -> Result<i64, &'static str> {
    const KEYS: &str = "expected weeks, days, hours, minutes, seconds, milliseconds and microseconds, each a number";
    const RANGE: &str = "expected a duration of less than 292,000 years";
    let mut total = 0_i64;
    for entry in entries {
        let Key::Str(name) = &entry.key else { return Err(KEYS) };
        let (_, unit) = UNITS.iter().find(|(known, _)| known == name).ok_or(KEYS)?;
        let part = match entry.item.what {
            What::Int(number) => i64::try_from(number).ok().and_then(|number| number.checked_mul(*unit)),
            What::Float(number) => whole(number, *unit),
            _ => return Err(KEYS),
        };
        total = part.and_then(|part| total.checked_add(part)).ok_or(RANGE)?;
    }
    if entries.is_empty() { Err(KEYS) } else { Ok(total) }
}

fn whole(number: f64, unit: i64) -> Option<i64> {
    // Seconds keep the fraction to nine digits, as everything here is at most a week and at least a microsecond.
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
    let (product, limit) = (number * unit as f64, i64::MAX as f64);
    #[allow(clippy::cast_possible_truncation)]
    (product.abs() < limit).then_some(product.round() as i64)
}

/// The lowest and the highest number of each field of a crontab line, and what to say of a wrong one.
const CRONTAB: [(u32, u32, &str); 5] = [
    (0, 59, "the minute is not of the form 0-59, *, */N or a list of these"),
    (0, 23, "the hour is not of the form 0-23, *, */N or a list of these"),
    (1, 31, "the day of the month is not of the form 1-31, *, */N or a list of these"),
    (1, 12, "the month is not of the form 1-12, *, */N or a list of these"),
    (0, 6, "the day of the week is not of the form 0-6 (0 is Sunday), sun-sat, *, */N or a list of these"),
];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// The five fields of a crontab line, or what was expected. Only what Celery's `crontab` takes: no `7` for Sunday, no names of
/// months, no `@daily`.
pub fn crontab(text: &str) -> Result<[String; 5], &'static str> {
    let fields: Vec<_> = text.split_whitespace().map(ToOwned::to_owned).collect();
    let fields: [String; 5] =
        fields.try_into().map_err(|_| "expected five fields: minute, hour, day of the month, month, day of the week")?;
    match fields.iter().zip(CRONTAB).find(|(field, (low, high, _))| !is_field(field, *low, *high)) {
        Some((_, (_, _, wrong))) => Err(wrong),
        None => Ok(fields),
    }
}

fn is_field(text: &str, low: u32, high: u32) -> bool {
    let number = |text: &str| {
        let weekday = || {
            WEEKDAYS.iter().position(|day| high == 6 && day.eq_ignore_ascii_case(text)).and_then(|day| u32::try_from(day).ok())
        };
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if digits { text.parse().ok() } else { weekday() }.filter(|number| (low..=high).contains(number))
    };
    text.split(',').all(|part| {
        let (range, step) = part.split_once('/').map_or((part, None), |(range, step)| (range, Some(step)));
        let step_fits = step.is_none_or(|step| step.parse::<u32>().is_ok_and(|step| step > 0 && step <= high.max(1)));
        let range_fits = match range.split_once('-') {
            Some((from, to)) => number(from).is_some() && number(to).is_some(),
            None => range == "*" || (number(range).is_some() && step.is_none()),
        };
        step_fits && range_fits
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desired::item::Item;

    #[test]
    fn durations_carry_units() {
        let text = |text: &str| microseconds(&What::Text(text.to_owned()));
        for (written, expected) in
            [("1h30m", 5_400_000_000), ("7d", 604_800_000_000), ("1w 1ms", 604_800_001_000), ("-5s", -5_000_000), ("250us", 250)]
        {
            assert_eq!(text(written), Ok(expected), "{written}");
        }
        for written in ["", "90", "1y", "1mo", "soon", "1h30", "9999999h9999999999999w"] {
            assert!(text(written).is_err(), "{written}");
        }
    }

    #[test]
    fn durations_as_mappings_are_sums() {
        let map = |entries: &[(&str, What)]| {
            let entries = entries.iter().map(|(key, what)| Entry {
                key: Key::from(*key),
                line: 1,
                item: Item { line: 1, what: what.clone() },
            });
            microseconds(&What::Map(entries.collect()))
        };
        assert_eq!(map(&[("hours", What::Int(1)), ("minutes", What::Float(1.5))]), Ok(3_690_000_000));
        assert_eq!(map(&[("days", What::Int(-1))]), Ok(-86_400_000_000));
        for wrong in
            [vec![], vec![("hour", What::Int(1))], vec![("hours", What::Text("1".into()))], vec![("weeks", What::Int(i128::MAX))]]
        {
            assert!(map(&wrong).is_err(), "{wrong:?}");
        }
        assert!(map(&[("weeks", What::Float(f64::NAN))]).is_err());
    }

    #[test]
    fn crontabs_are_what_celery_takes() {
        for good in ["0 3 * * *", "*/5 0-6,12 1,15 * mon-fri", "0 0 1-31/2 1-12 sun,6"] {
            assert!(crontab(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "0 3 * *",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * * jan *",
            "* * * * 7",
            "@daily",
            "*/0 * * * *",
            "5/2 * * * *",
            "a * * * *",
            "1- * * * *",
        ] {
            assert!(crontab(bad).is_err(), "{bad}");
        }
    }
}
