//! What a query reads: the live read models or, with `as_of`, those of a generation that was kept under that name.

use crate::consistency::{MIN_POSITION, MinPosition, Positions, undisturbed};
use crate::problem::Problem;
use actix_web::dev::Payload;
use actix_web::web::Data;
use actix_web::{FromRequest, HttpRequest};
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::{Executor, PgPool, Postgres};
use std::future::{Ready, ready};

/// The query parameter that names a generation.
pub const AS_OF: &str = "as_of";

/// The read models as one request is to see them.
#[derive(Clone)]
pub struct View {
    pub replica: Data<PgPool>,
    pub positions: Data<Positions>,
    pub min: MinPosition,
    as_of: Option<String>,
}

impl FromRequest for View {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        ready(Self::of(request, payload))
    }
}

impl View {
    fn of(request: &HttpRequest, payload: &mut Payload) -> Result<Self, Problem> {
        let min = MinPosition::from_request(request, payload).into_inner()?;
        let replica = request.app_data::<Data<PgPool>>().expect("every request has a replica").clone();
        let positions = request.app_data::<Data<Positions>>().expect("every request has positions").clone();
        let mut parameters = url::form_urlencoded::parse(request.query_string().as_bytes());
        let as_of = parameters.find(|(name, _)| name == AS_OF).map(|(_, value)| value.into_owned());
        if as_of.is_some() && min.0 > 0 {
            return Err(Problem::header(MIN_POSITION, "cannot be sent with as_of: what was does not move"));
        }
        Ok(View { replica, positions, min, as_of })
    }

    /// Whether it is of what was kept under a name.
    pub fn is_as_of(&self) -> bool {
        self.as_of.is_some()
    }

    /// What `read` makes of the rows of `query`, as soon as they reflect what the client asks for. `read` returns the position
    /// of `projection` in their snapshot, too: one statement is one snapshot.
    ///
    /// # Errors
    /// 404 `unknown-generation`; 503 `position-not-reached` and `read-model-unavailable`.
    pub async fn rows<'q, T>(
        &self,
        projection: &'static str,
        query: impl Fn() -> Query<'q, Postgres, PgArguments>,
        read: impl Fn(&[PgRow]) -> sqlx::Result<(i64, T)>,
    ) -> Result<(i64, T), Problem> {
        if let Some(name) = &self.as_of {
            return Ok(read(&self.rows_as_of(projection, name, query()).await?)?);
        }
        let mut awaited = self.positions.awaited(projection, self.min.0);
        loop {
            let (reached, found) = read(&undisturbed(|| query().fetch_all(&**self.replica)).await?)?;
            if awaited.is_reflected_at(reached) {
                return Ok((reached, found));
            }
            awaited.wait(reached).await?;
        }
    }

    async fn rows_as_of(
        &self,
        projection: &'static str,
        name: &str,
        query: Query<'_, Postgres, PgArguments>,
    ) -> Result<Vec<PgRow>, Problem> {
        let mut reading = self.replica.begin().await?;
        let named: Vec<(String, i32)> = sqlx::query_as(
            "select name, generation from generations where projection = $1 and state = 'named' order by name",
        )
        .bind(projection)
        .fetch_all(&mut *reading)
        .await?;
        let Some((_, generation)) = named.iter().find(|(known, _)| known == name) else {
            let known: Vec<&str> = named.iter().map(|(name, _)| name.as_str()).collect();
            return Err(Problem::unknown_generation(projection, name, &known));
        };
        let schema = format!("{}_{generation}", projection.replace('-', "_"));
        reading.execute(format!("set local search_path = {schema}, projections").as_str()).await?;
        // Its tables may be those of an earlier release, for which no plan is kept.
        Ok(query.persistent(false).fetch_all(&mut *reading).await?)
    }
}
