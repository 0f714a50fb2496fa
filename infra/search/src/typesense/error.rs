//! What Typesense says when it does not do what was asked.

use crate::engine::SearchError;
use serde::Deserialize;
use typesense::{ApiError, Error};

/// Why a request has failed.
#[derive(Debug)]
pub enum Trouble {
    /// 404, with what is not there.
    Missing(String),
    /// 409
    Exists,
    Other(SearchError),
}

#[derive(Deserialize)]
struct Said {
    message: String,
}

impl<E> From<Error<E>> for Trouble
where
    E: std::fmt::Debug + 'static,
{
    fn from(error: Error<E>) -> Self {
        let error = match error {
            Error::Api(error) | Error::AllNodesFailed { source: error } => error,
            Error::Deserialization(error) => {
                return Trouble::Other(SearchError::Failed(format!("Typesense said what is not understood: {error}")));
            }
        };
        match error {
            ApiError::ResponseError(answer) => {
                let said = serde_json::from_str::<Said>(&answer.content).map_or(answer.content, |said| said.message);
                match answer.status.as_u16() {
                    404 => Trouble::Missing(said),
                    409 => Trouble::Exists,
                    status @ (408 | 429 | 500..) => {
                        Trouble::Other(SearchError::Unreachable(format!("Typesense answered {status}: {said}")))
                    }
                    status => Trouble::Other(SearchError::Failed(format!("Typesense answered {status}: {said}"))),
                }
            }
            ApiError::Serde(error) => {
                Trouble::Other(SearchError::Failed(format!("Typesense said what is not understood: {error}")))
            }
            ApiError::Reqwest(error) => Trouble::Other(SearchError::Unreachable(chain(&error))),
            ApiError::ReqwestMiddleware(error) => Trouble::Other(SearchError::Unreachable(chain(&error))),
            ApiError::Io(error) => Trouble::Other(SearchError::Unreachable(chain(&error))),
        }
    }
}

impl From<Trouble> for SearchError {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Missing(what) => SearchError::Unknown(what),
            Trouble::Exists => SearchError::Failed("Typesense has something of this name already".to_owned()),
            Trouble::Other(error) => error,
        }
    }
}

/// An error with what has caused it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut told = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        told.push_str(": ");
        told.push_str(&error.to_string());
        cause = error.source();
    }
    told
}

/// What may be missing.
pub fn optional<T>(outcome: Result<T, Trouble>) -> Result<Option<T>, SearchError> {
    match outcome {
        Ok(found) => Ok(Some(found)),
        Err(Trouble::Missing(_)) => Ok(None),
        Err(trouble) => Err(trouble.into()),
    }
}
